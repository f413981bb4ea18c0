"""What a dry run says above and below its list of jobs."""

import json
import logging
from types import SimpleNamespace

import pytest

from gumbel.experiment import matrix
from gumbel.monitor.plan import PlanHandler
from gumbel.paths import ExperimentPaths
from tests.detection.conftest import TINY

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
    return PlanHandler(matrix.parse(TINY | {"widths": {}, "schedule": "schedule_2x", "batch": 8}), lambda: [])


def planned(handler: PlanHandler, rule: str, reason: str = MISSING, wildcards: dict = CELL) -> None:
    handler.emit(record(rule_name=rule, wildcards=wildcards, resources={}, reason=reason))


def job(rule: str, output: str = "", local: bool = False, retries: int = 3, **resources: object) -> SimpleNamespace:
    """A job as Snakemake's graph has it."""
    return SimpleNamespace(
        rule=SimpleNamespace(name=rule),
        output=[output],
        is_local=local,
        wildcards=SimpleNamespace(**CELL),
        resources=resources,
        restart_times=retries,
    )


@pytest.mark.parametrize("asked", [{"gpu": 2}, {"gres": "gpu:2"}, {"gres": "gpu:a100:1", "nodes": 2}])
def test_gpu_hours_at_most_are_gpus_times_time_limit_times_attempts_of_the_jobs_that_ask_for_gpus(handler, asked):
    jobs = [job("predict", runtime=90, **asked), job("features", runtime=30, **asked), job("evaluate", runtime=600)]
    handler.jobs = lambda: [*jobs, job("doctor", runtime=60, retries=0, gpu=1)]
    words = "17 at most, if every job took all its attempts to the limit (1 predict, 1 features, 1 doctor)"
    assert handler.head().endswith(words)


def test_gpu_hours_of_a_training_are_those_of_the_papers_schedule_in_proportion(handler):
    """55 hours with 1x at batch 16 are as many with 2x at batch 8; at most, four times half as many again."""
    handler.jobs = lambda: [job("train", runtime=60, gpu=1)]
    assert "GPU-hours: about 55 expected for trainings; 332 at most" in handler.head()


def test_gpu_hours_of_a_training_are_those_that_the_doctor_expects(handler):
    handler.jobs = lambda: [job("train", runtime=60, gpu=1)]
    handler.paths.doctor.parent.mkdir(parents=True)
    cost = {"cell": "mask_rcnn_r50/gumbel/seed0", "seconds": 7200}
    handler.paths.doctor.write_text(json.dumps({"costs": [cost]}))
    assert "about 2 expected for trainings; 14 at most" in handler.head()


def test_the_first_lines_name_the_experiment_how_much_of_it_is_done_and_what_is_downloaded(handler):
    first, *_ = matrix.cells(handler.experiment)
    for path in matrix.evidence(handler.experiment, first):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    handler.jobs = lambda: [job("backbone", "data/b.pth", local=True), job("data", "data/x.json", local=False)]
    assert handler.head().splitlines() == [
        "Experiment tiny: 1 of 9 cells are done. A matrix for tests.",
        "To download, or to find: data/b.pth",
    ]


@pytest.mark.parametrize("first", [record("Job stats", stats={}), record("Nothing to be done (all files are there).")])
def test_the_first_lines_come_once_before_the_jobs(handler, capsys, first):
    handler.emit(record("Building DAG of jobs..."))
    assert capsys.readouterr().out == ""
    handler.emit(first)
    handler.emit(first)
    assert capsys.readouterr().out.count("Experiment tiny") == 1


def test_an_unfinished_training_is_nothing_to_lose(handler):
    planned(handler, "train")
    assert "No finished training would be thrown away" in handler.summary()


def test_a_finished_training_is_named_with_its_hours_and_what_changed(handler, tmp_path):
    files = ExperimentPaths("tiny").cell(**CELL)
    files.checkpoint.parent.mkdir(parents=True)
    files.checkpoint.touch()
    files.manifest.write_text(json.dumps({"seconds": 7200.0, "world_size": 4}))
    change = "Params have changed since last execution: Union of exclusive params before and now across all output: "
    planned(handler, "train", change + "before: 'loop.py 11' now: 'loop.py 22' ")
    expected = "  mask_rcnn_r50/gumbel/seed0 (8.00 hours of computing): 'loop.py 11' became 'loop.py 22'"
    assert expected in handler.summary().splitlines()


def test_a_configuration_that_an_edit_rewrites_is_named_and_tells_why_its_training_would_be_done_again(handler):
    files = ExperimentPaths("tiny").cell(**CELL)
    files.checkpoint.parent.mkdir(parents=True)
    files.checkpoint.touch()
    files.config.touch()
    planned(handler, "train", "Input files updated by another job: config.py")
    planned(handler, "config", "Params have changed: before: batch=4 now: batch=8 ")
    lines = handler.summary().splitlines()
    at = lines.index("Configurations that would be written anew:")
    assert lines[at + 1] == "  mask_rcnn_r50/gumbel/seed0: batch=4 became batch=8"
    assert lines[-1].endswith("(hours unknown): batch=4 became batch=8")


def test_a_configuration_that_was_never_written_is_not_written_anew(handler):
    planned(handler, "config")
    assert "written anew" not in handler.summary()


def test_the_sum_is_printed_when_the_dry_run_ends(handler, capsys):
    planned(handler, "train")
    assert capsys.readouterr().out == ""
    handler.emit(record("This was a dry-run (flag -n). The order of jobs does not reflect the order of execution."))
    assert "No finished training would be thrown away." in capsys.readouterr().out
