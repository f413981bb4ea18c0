"""What a dry run says below its list of jobs."""

import json
import logging

import pytest

from gumbel.monitor.plan import PlanHandler
from gumbel.paths import ExperimentPaths

CELL = {"architecture": "mask_rcnn_r50", "activation": "gumbel", "seed": "0"}
MISSING = "Missing output files: results/tiny/mask_rcnn_r50/gumbel/seed0/train/checkpoint.pth"


def record(message: str = "", **extra: object) -> logging.LogRecord:
    """A record as Snakemake logs it."""
    found = logging.LogRecord("snakemake", logging.INFO, "", 0, message, (), None)
    found.__dict__.update(extra)
    return found


@pytest.fixture
def handler(tmp_path, monkeypatch) -> PlanHandler:
    monkeypatch.chdir(tmp_path)
    return PlanHandler("tiny")


def planned(
    handler: PlanHandler, rule: str, reason: str = MISSING, wildcards: dict = CELL, **resources: object
) -> None:
    handler.emit(record(rule_name=rule, wildcards=wildcards, resources=resources, reason=reason))


@pytest.mark.parametrize("asked", [{"gpu": 2}, {"gres": "gpu:2"}, {"gres": "gpu:a100:2"}])
def test_gpu_hours_are_gpus_times_time_limit_of_the_jobs_that_ask_for_gpus(handler, asked):
    planned(handler, "train", runtime=90, **asked)
    planned(handler, "train", runtime=30, **asked)
    planned(handler, "predict", runtime=60, gpu=1)
    planned(handler, "evaluate", runtime=600)
    assert ": 5 (2 train 4, 1 predict 1)" in handler.summary()


def test_an_unfinished_training_is_nothing_to_lose(handler):
    planned(handler, "train", runtime=90, gpu=1)
    assert "No finished training would be thrown away" in handler.summary()


def test_a_finished_training_is_named_with_its_hours_and_what_changed(handler, tmp_path):
    files = ExperimentPaths("tiny").cell(**CELL)
    files.checkpoint.parent.mkdir(parents=True)
    files.checkpoint.touch()
    files.manifest.write_text(json.dumps({"seconds": 7200.0, "world_size": 4}))
    change = "Params have changed since last execution: Union of exclusive params before and now across all output: "
    planned(handler, "train", change + "before: 'loop.py 11' now: 'loop.py 22' ", runtime=90, gpu=4)
    expected = "  mask_rcnn_r50/gumbel/seed0 (8.00 hours of computing): 'loop.py 11' became 'loop.py 22'"
    assert expected in handler.summary().splitlines()


def test_a_configuration_that_an_edit_rewrites_is_named_and_tells_why_its_training_would_be_done_again(handler):
    files = ExperimentPaths("tiny").cell(**CELL)
    files.checkpoint.parent.mkdir(parents=True)
    files.checkpoint.touch()
    files.config.touch()
    planned(handler, "train", "Input files updated by another job: config.py", runtime=90, gpu=4)
    planned(handler, "config", "Params have changed: before: batch=4 now: batch=8 ")
    lines = handler.summary().splitlines()
    at = lines.index("Configurations that would be written anew:")
    assert lines[at + 1] == "  mask_rcnn_r50/gumbel/seed0: batch=4 became batch=8"
    assert lines[-1].endswith("(hours unknown): batch=4 became batch=8")


def test_a_configuration_that_was_never_written_is_not_written_anew(handler):
    planned(handler, "config")
    assert "written anew" not in handler.summary()


def test_the_sum_is_printed_when_the_dry_run_ends(handler, capsys):
    planned(handler, "train", runtime=60, gpu=1)
    assert capsys.readouterr().out == ""
    handler.emit(record("This was a dry-run (flag -n). The order of jobs does not reflect the order of execution."))
    assert "GPU-hours at stake" in capsys.readouterr().out
