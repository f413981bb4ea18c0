"""How far an experiment is, told from folders that were left at every stage of it."""

import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path

import pytest

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import write_json
from gumbel.monitor import progress
from gumbel.monitor.page import PageKeeper, write_page
from gumbel.monitor.progress import Line
from gumbel.monitor.table import show
from gumbel.paths import REPOSITORY, CellPaths, ExperimentPaths
from gumbel.report.summary.collect import cell_state
from tests.report import fixtures

EVIL = "</td></table><script>alert(1)</script>\x1b[31m\x1b]0;owned\x07"
NOW = 1_800_000_000.0


@pytest.fixture
def experiment() -> Experiment:
    return fixtures.make_experiment(architectures=["mask_rcnn_r50"], activations=["softmax", "sigmoid", "gumbel"])


@pytest.fixture
def folder(tmp_path: Path, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the three cells and their warm start are done."""
    fixtures.build(tmp_path, experiment, categories=6)
    warm_start = ExperimentPaths("fake").warm_start("mask_rcnn_r50")
    for path in (warm_start.checkpoint, warm_start.history):
        (tmp_path / path).touch()
    for split in ("train", "warm_start"):
        (tmp_path / experiment.data_root / f"{split}.json").touch()
    (tmp_path / warm_start.config).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths_of(experiment: Experiment, number: int) -> CellPaths:
    return matrix.cells(experiment)[number].paths(experiment)


def untrain(paths: CellPaths, status: dict | None = None) -> None:
    """Undo a training; leave ``status`` as its last word."""
    for path in (paths.manifest, paths.history, paths.checkpoint, paths.status):
        path.unlink(missing_ok=True)
    if status:
        write_json(paths.status, {"schema": 1, "updated": NOW - 5} | status)


def write_log(path: Path, text: str, age: float = 5.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))


def line(experiment: Experiment, number: int) -> Line:
    """The line of a cell; the warm start comes first."""
    return progress.lines(experiment, now=NOW)[1 + number]


RUNNING = {
    "state": "running",
    "iteration": 100,
    "iterations": 400,
    "loss": 1.25,
    "eta_seconds": 600.0,
    "seconds": 230.0,
}


def test_a_done_cell_shows_its_mask_ap_and_has_nothing_left(folder, experiment):
    found = line(experiment, 2)
    record = json.loads(paths_of(experiment, 2).metrics("val", "matched").read_text())["segm"]
    assert found.state == "done"
    assert found.detail == f"AP {100 * record['AP']:.1f}, APr {100 * record['APr']:.1f}"
    assert found.left == 0


def test_a_running_training_shows_iteration_loss_eta_and_where_it_runs(folder, experiment):
    where = {"host": "node-17", "gpu": "NVIDIA A100", "slurm_job": "4711", "attempt": 2}
    untrain(paths_of(experiment, 0), RUNNING | where)
    found = line(experiment, 0)
    assert found.state == "running"
    for words in ("100/400", "loss 1.250", "ETA 10 min", "node-17", "A100", "4711", "attempt 2"):
        assert words in found.detail
    assert (found.share, found.seconds, found.left) == (0.25, 230, pytest.approx(600))


@pytest.mark.parametrize(("share", "told"), [(0.31, True), (0.01, False), (None, False)])
def test_a_running_training_says_when_it_waits_for_data_and_for_how_much_of_its_time(folder, experiment, share, told):
    untrain(paths_of(experiment, 0), RUNNING | {"waiting": share})
    assert ("waits for data 31% of the time" in line(experiment, 0).detail) == told


def test_a_training_whose_heartbeat_is_old_is_doubted(folder, experiment):
    untrain(paths_of(experiment, 0), RUNNING | {"updated": NOW - 3600})
    found = line(experiment, 0)
    assert found.state == "stalled?"
    assert "last heard of 1 h 00 min ago" in found.detail


def test_a_training_whose_process_on_this_host_is_gone_was_interrupted(folder, experiment):
    ended = subprocess.Popen(["true"])
    ended.wait()
    untrain(paths_of(experiment, 0), RUNNING | {"host": platform.node(), "pid": ended.pid})
    untrain(paths_of(experiment, 1), RUNNING | {"host": platform.node(), "pid": os.getpid()})
    untrain(paths_of(experiment, 2), RUNNING | {"host": "elsewhere", "pid": ended.pid})
    assert [line(experiment, number).state for number in range(3)] == ["interrupted", "running", "running"]


def test_a_training_that_reads_its_data_is_starting(folder, experiment):
    untrain(paths_of(experiment, 0), {"state": "running", "host": "node-17", "iteration": 0, "iterations": 0})
    assert line(experiment, 0).detail == "starting, node-17"


def test_an_interrupted_training_says_where_it_goes_on(folder, experiment):
    untrain(paths_of(experiment, 0), RUNNING | {"state": "interrupted", "updated": NOW - 9e5})
    found = line(experiment, 0)
    assert (found.state, found.detail) == ("interrupted", "goes on from iteration 100/400")


def test_a_training_waits_for_what_is_not_there_and_is_queued_when_all_is(folder, experiment):
    paths = paths_of(experiment, 0)
    untrain(paths)
    assert line(experiment, 0).state == "queued"
    warm_start = ExperimentPaths("fake").warm_start("mask_rcnn_r50")
    warm_start.checkpoint.unlink()
    assert line(experiment, 0).state == "waiting"
    assert str(warm_start.checkpoint) in line(experiment, 0).detail
    (experiment.data_root / "train.json").unlink()
    assert "train.json" in line(experiment, 0).detail
    paths.config.unlink()
    assert "config.py" in line(experiment, 0).detail


def test_a_configuration_that_cannot_be_written_is_why_its_training_failed(folder, experiment):
    paths = paths_of(experiment, 0)
    untrain(paths)
    write_log(paths.log("config"), "gumbel configs: expected a longer schedule, found a short one")
    assert line(experiment, 0).state == "queued"
    paths.config.unlink()
    found = line(experiment, 0)
    assert (found.state, found.detail) == ("failed", "expected a longer schedule, found a short one")
    assert found.failure.log == paths.log("config")


def test_a_training_that_has_only_a_log_is_starting(folder, experiment):
    paths = paths_of(experiment, 0)
    untrain(paths)
    write_log(paths.log("train"), "loading annotations")
    assert line(experiment, 0).state == "running"
    write_log(paths.log("train"), "loading annotations", age=7200)
    assert line(experiment, 0).state == "stalled?"


@pytest.mark.parametrize("name", ["predict", "evaluate_val_uniform_matched", "evaluate_val_matched"])
def test_a_trained_cell_names_the_jobs_at_work_and_the_reason_of_one_that_failed(folder, experiment, name):
    cell = matrix.cells(experiment)[2]
    paths = cell.paths(experiment)
    job = next(job for job in progress.steps(experiment, cell) if job.name == name)
    kept = {path: path.read_bytes() for path in (*job.outputs, *job.later) if path.exists()}
    for path in kept:
        path.unlink()
    assert (line(experiment, 2).state, " for " in line(experiment, 2).detail) == ("evaluating", False)
    write_log(paths.log(name), "as it goes\n", age=300)
    assert line(experiment, 2).state == "evaluating"
    assert f"{name.replace('_', ' ')} for 5 min" in line(experiment, 2).detail
    write_log(paths.log(name), "as it goes\n", age=progress.SILENT_SECONDS + 60)
    assert line(experiment, 2).state == "stalled?"
    write_log(paths.log(name), "Traceback\n  much\ngumbel predict: RuntimeError: out of\n  memory\n")
    found = line(experiment, 2)
    assert (found.state, found.detail) == ("failed", "RuntimeError: out of memory")
    assert cell_state(cell, experiment) == ("failed", f"RuntimeError: out of memory (log: {paths.log(name)})")
    # A job that writes its file after all has not failed, whatever the log of an earlier attempt says
    for path, content in kept.items():
        path.write_bytes(content)
    assert line(experiment, 2).state == "done"


def test_a_failed_training_is_failed_by_its_status_or_by_its_log_alone(folder, experiment):
    untrain(
        paths_of(experiment, 0), RUNNING | {"state": "failed", "message": "FloatingPointError: expected\na finite loss"}
    )
    untrain(paths_of(experiment, 1))
    write_log(paths_of(experiment, 1).log("train"), "gumbel train: expected train.json, found nothing there\n")
    assert line(experiment, 0).detail == "FloatingPointError: expected a finite loss"
    assert line(experiment, 1).detail == "expected train.json, found nothing there"
    assert {line(experiment, number).state for number in (0, 1)} == {"failed"}


def test_an_attempt_at_work_is_not_failed_by_the_log_of_the_one_before(folder, experiment):
    for number, state in enumerate(["running", "interrupted"]):
        untrain(paths_of(experiment, number), RUNNING | {"state": state})
        write_log(paths_of(experiment, number).log("train"), "gumbel train: RuntimeError: node lost\n")
        assert line(experiment, number).state == state


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"state": 7, "iteration": "x", "updated": null, "loss": {}}',
        "\x00",
        json.dumps({"state": "running", "host": platform.node(), "pid": 2**40}),
    ],
)
def test_a_damaged_file_is_never_an_error(folder, experiment, damage):
    paths = paths_of(experiment, 0)
    for path in (paths.status, paths.manifest, paths.metrics("val", "matched")):
        path.write_text(damage)
    progress.lines(experiment)
    write_page(experiment)


def test_what_has_not_run_is_expected_to_take_as_long_as_the_others_of_its_model(folder, experiment):
    manifests = [json.loads(paths_of(experiment, number).manifest.read_text()) for number in (1, 2)]
    untrain(paths_of(experiment, 0))
    assert line(experiment, 0).left == pytest.approx(sum(record["seconds"] for record in manifests) / 2)


def test_hours_count_every_gpu_of_a_training(folder, experiment):
    for number in range(3):
        path = paths_of(experiment, number).manifest
        write_json(path, json.loads(path.read_text()) | {"seconds": 3600.0, "world_size": 4, "device": "cuda:0"})
    untrain(
        paths_of(experiment, 0), RUNNING | {"processes": 4, "seconds": 1800.0, "eta_seconds": 5400.0, "gpu": "A100"}
    )
    found = progress.lines(experiment, now=NOW)
    assert progress.hours(found[1:]) == "10.0 GPU-hours spent, about 6.0 left"


def test_nothing_that_ever_ran_has_an_unknown_length(tmp_path, experiment, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = progress.lines(experiment)
    assert {each.state for each in found} == {"waiting"}
    assert progress.headline(experiment, found) == "fake, 3 cells: 3 waiting"
    assert progress.hours(found).endswith("spent, and 4 trainings of unknown length left")


def test_the_logs_of_jobs_are_those_that_the_rules_write(experiment):
    rules = "".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    written = set(re.findall(r'CELL\.log\("([^"]+)"\)', rules)) - {"config", "train"}
    sigmoid = matrix.cells(experiment)[1]
    names = {
        name.format(split=split, scoring=scoring, percent=percent)
        for name in written
        for percent in experiment.snapshots
        for split in experiment.splits
        for scoring in ("matched", "released")
    }
    matched = {name for name in names if "released" in name and ("_at_" in name or "val_uniform" in name)}
    elsewhere = {name for name in names if "_at_" in name and "val_uniform" in name}
    assert {job.name for job in progress.steps(experiment, sigmoid)} == names - matched - elsewhere


def test_a_cell_is_done_exactly_when_the_summary_says_so(folder, experiment):
    """Each file that the summary is made from is missing in turn; what was predicted may be thrown away."""
    cell = matrix.cells(experiment)[1]
    for path in matrix.evidence(experiment, cell):
        kept = path.read_bytes()
        path.unlink()
        assert (cell_state(cell, experiment)[0], line(experiment, 1).state == "done") == ("missing", False), path
        path.write_bytes(kept)
    cell.paths(experiment).checkpoint.unlink()
    cell.paths(experiment).predictions("val", "matched").unlink()
    assert (cell_state(cell, experiment)[0], line(experiment, 1).state) == ("done", "done")


def test_hostile_words_neither_reach_the_page_as_markup_nor_the_terminal_as_commands(folder, experiment, capsys):
    untrain(paths_of(experiment, 0), RUNNING | {"host": EVIL, "gpu": EVIL})
    untrain(paths_of(experiment, 1), RUNNING | {"state": "failed", "message": EVIL})
    write_log(paths_of(experiment, 1).log("train"), f"{EVIL}\n[bold]gumbel\n")
    write_log(ExperimentPaths("fake").log("collect"), f"gumbel collect: {EVIL}\n")
    write_page(experiment)
    page = Path("reports/fake/progress.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == 1
    assert "<script>alert" not in page
    show(experiment)
    printed = capsys.readouterr().out
    assert "\x1b" not in printed + page
    assert "\x07" not in printed + page
    assert "[bold]gumbel" in printed  # as it stands, not as markup of the terminal's


def test_failures_are_quoted_with_the_path_and_the_last_lines_of_the_log(folder, experiment):
    paths = paths_of(experiment, 0)
    untrain(paths, RUNNING | {"state": "failed", "message": "ValueError: so"})
    write_log(paths.log("train"), "".join(f"line {number}\n" for number in range(100)))
    text = progress.last_words(experiment)
    assert f"failed: M-R50 Softmax, seed 0: ValueError: so\n  {paths.log('train')}\n  | line 88\n" in text
    assert "| line 99\n" in text
    assert "| line 87\n" not in text


def test_a_log_is_quoted_without_overwritten_bars_and_from_its_end_only(tmp_path):
    log = tmp_path / "long.log"
    log.write_bytes(b"x" * 10_000_000 + b"\n  1%\r 50%\r100%\n\n\xff end\n")
    started = time.process_time()
    assert progress.last_lines(log, 3) == [" 50%", "100%", "\ufffd end"]
    assert time.process_time() - started < 0.3


def test_the_page_asks_for_a_refresh_only_where_somebody_writes_it_again(folder, experiment):
    page = Path("reports/fake/progress.html")
    write_page(experiment, refresh=15)
    assert '<meta http-equiv="refresh" content="15">' in page.read_text()
    write_page(experiment)
    assert 'http-equiv="refresh"' not in page.read_text()


def test_the_keeper_writes_at_once_and_again_and_a_last_time_without_refresh(folder, experiment):
    untrain(paths_of(experiment, 0))
    page = Path("reports/fake/progress.html")
    keeper = PageKeeper(experiment, interval=0.05)
    keeper.start()
    _until(page.exists)
    assert 'http-equiv="refresh"' in page.read_text()
    first = page.stat().st_mtime_ns
    _until(lambda: page.stat().st_mtime_ns > first)
    keeper.stop()
    assert 'http-equiv="refresh"' not in page.read_text()
    assert list(page.parent.iterdir()) == [page]


def test_a_page_that_cannot_be_written_stops_nothing(folder, experiment, capsys):
    Path("reports").write_text("in the way")
    keeper = PageKeeper(experiment)
    keeper.start()
    keeper.stop()
    assert "reports/fake/progress.html was not written" in capsys.readouterr().err


def _until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
