"""A reader never sees a half-written file."""

import json
import os

import pytest

from gumbel.jobs.files import atomic_path, fingerprint, write_json


def test_a_file_appears_under_its_name_only_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "table.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent, "a rename is atomic within one folder only"
    assert target.read_text() == "half"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(tmp_path, value):
    target = tmp_path / "record.json"
    write_json(target, {"AP": 0.25})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, {"AP": value})
    assert json.loads(target.read_text()) == {"AP": 0.25}
    assert list(tmp_path.iterdir()) == [target]


def test_json_keeps_every_bit_of_a_number(tmp_path):
    record = {"AP": 0.1 + 0.2, "missing": None, "nested": [1e-300]}
    write_json(tmp_path / "record.json", record)
    assert json.loads((tmp_path / "record.json").read_text()) == record


def test_a_fingerprint_changes_with_every_file_that_comes_changes_or_goes_and_with_nothing_else(tmp_path):
    folder, single = tmp_path / "cell", tmp_path / "single.npz"
    seen = [fingerprint([folder, single])]
    for change in (
        lambda: write_json(folder / "deep" / "record.json", 1),
        lambda: write_json(folder / "deep" / "record.json", 22),
        lambda: single.touch(),
        lambda: (folder / "deep" / "record.json").rename(folder / "record.json"),
        lambda: (folder / "record.json").unlink(),
    ):
        change()
        assert fingerprint([folder, single]) not in seen
        seen.append(fingerprint([folder, single]))
    single.touch()
    os.utime(single, (0, 0))
    (tmp_path / "elsewhere").touch()
    assert fingerprint([folder, single]) == seen[-1]
