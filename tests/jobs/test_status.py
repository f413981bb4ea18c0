"""The state of a training, written by its job and read by everyone."""

import json
import time

import pytest
from pydantic import ValidationError

from gumbel.jobs import status
from gumbel.jobs.status import Status


@pytest.mark.parametrize("state", ["running", "done", "failed", "interrupted"])
def test_a_status_reads_back_as_it_was_written_with_the_time_of_writing(tmp_path, state):
    before = time.time()
    written = Status(state=state, iteration=7, iterations=10, loss=1.5, eta_seconds=3.0, message="so")
    status.write(tmp_path / "status.json", written)
    read = status.read(tmp_path / "status.json")
    assert before <= read.updated <= time.time()
    assert read.model_copy(update={"updated": 0.0}) == written


def test_a_training_that_has_not_started_has_no_status(tmp_path):
    assert status.read(tmp_path / "status.json") is None


def test_the_file_names_its_schema(tmp_path):
    status.write(tmp_path / "status.json", Status(state="running"))
    assert json.loads((tmp_path / "status.json").read_text())["schema"] == 1


@pytest.mark.parametrize("change", [{"state": "paused"}, {"speed": 1}])
def test_an_unknown_state_or_key_is_refused(change):
    with pytest.raises(ValidationError):
        Status.model_validate({"state": "running"} | change)
