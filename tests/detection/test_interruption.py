"""A training that is stopped, killed, claimed twice or started twice ends with the result of an undisturbed one."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from mmengine.config import Config

from gumbel.detection.compose import write_configs
from gumbel.jobs import status
from gumbel.paths import ExperimentPaths, TrainingPaths

ITERATIONS = 31  # not a multiple of the accumulated iterations, so that the last step gathers fewer
ACCUMULATION = 2


@pytest.fixture(scope="module")
def folder(tiny, tiny_data, tmp_path_factory) -> Path:
    """A working folder with data, a warm start of random weights, and a training in `whole` that nothing disturbed."""
    folder = tmp_path_factory.mktemp("interruption")
    (folder / "data").symlink_to(tiny_data / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_configs(tiny)
        run(folder, training(folder, "whole"))
    return folder


def training(folder: Path, name: str, **changes: object) -> TrainingPaths:
    """A short training from scratch by SGD, with gradients accumulated."""
    config = Config.fromfile(folder / ExperimentPaths("tiny").cell("mask_rcnn_r50", "gumbel", 0).config)
    config.custom_hooks = []
    # A rate that is another one in every step: a warm-up longer than the training
    config.param_scheduler = [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=20)]
    config.train_cfg.max_iters = ITERATIONS
    config.train_dataloader.batch_size = 2
    config.default_hooks.checkpoint.interval = 3
    config.optim_wrapper = dict(
        type="OptimWrapper",
        accumulative_counts=ACCUMULATION,
        optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4),
    )
    config.merge_from_dict(changes)
    paths = TrainingPaths(folder / "runs" / name)
    paths.root.mkdir(parents=True)
    config.dump(paths.config)
    return paths


def start(folder: Path, paths: TrainingPaths, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *launcher, *(["-m"] if launcher else []), "gumbel", "train", str(paths.config)]
    return subprocess.Popen(
        [*command, *options], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def run(folder: Path, paths: TrainingPaths, *options: str, launcher: tuple[str, ...] = ()) -> str:
    process = start(folder, paths, *options, launcher=launcher)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def at_checkpoint(process: subprocess.Popen, paths: TrainingPaths, after: int) -> int:
    """Wait for a checkpoint beyond iteration ``after``; the newest one's iteration."""
    while process.poll() is None:
        saved = [int(path.stem[5:]) for path in paths.work_dir.glob("*/iter_*.pth")]
        if max(saved, default=0) > after:
            return max(saved)
        time.sleep(0.002)
    raise AssertionError(f"ended before it could be disturbed: {process.communicate()[1]}")


def assert_equal_results(one: TrainingPaths, other: TrainingPaths) -> None:
    first, second = (torch.load(paths.checkpoint, weights_only=True) for paths in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    histories = [pd.read_parquet(paths.history).drop(columns=["seconds", "waited"]) for paths in (one, other)]
    pd.testing.assert_frame_equal(*histories)


@pytest.mark.slow
def test_a_training_stopped_by_signals_and_killed_ends_with_the_same_bits(folder, monkeypatch):
    """SIGTERM and SIGUSR1 save at the optimiser's next step, SIGKILL loses what came after the last checkpoint."""
    monkeypatch.chdir(folder)
    paths = training(folder, "disturbed")
    reached = 0
    for sign, code in ((signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGKILL, -signal.SIGKILL)):
        process = start(folder, paths)
        reached = at_checkpoint(process, paths, reached)
        process.send_signal(sign)
        _, errors = process.communicate()
        assert process.returncode == code, errors
        state = status.read(paths.status)
        if sign != signal.SIGKILL:
            assert (state.state, state.message) == ("interrupted", f"stopped by {sign.name}")
            assert "the same command goes on with it" in errors
            assert list(paths.work_dir.glob(f"*/iter_{state.iteration}.pth")), "nothing is lost"
            assert state.iteration % ACCUMULATION == 0, "gradients on the way to a step are not stored"
            reached = state.iteration
    run(folder, paths)
    assert_equal_results(TrainingPaths(folder / "runs" / "whole"), paths)

    record = json.loads(paths.manifest.read_text())
    attempts = record["attempts"]
    assert [attempt["ended"] for attempt in attempts] == ["interrupted", "interrupted", None, "done"]
    assert [attempt["first"] for attempt in attempts][:3] == [0, attempts[0]["last"], attempts[1]["last"]]
    assert record["seconds"] == pytest.approx(sum(attempt["seconds"] for attempt in attempts))
    assert record["seconds"] > record["iteration_seconds"] > 0
    done = status.read(paths.status)
    assert (done.state, done.attempt, done.iteration) == ("done", 4, ITERATIONS)


@pytest.mark.slow
def test_a_finished_training_whose_results_were_removed_is_not_repeated(folder, monkeypatch):
    """Snakemake removes the outputs of a job that it did not see end; they are published again, bit for bit."""
    monkeypatch.chdir(folder)
    whole = TrainingPaths(folder / "runs" / "whole")
    before = {path: path.read_bytes() for path in (whole.checkpoint, whole.history, whole.manifest)}
    for path in before:
        path.unlink()
    assert "was finished on" in run(folder, whole)
    assert {path: path.read_bytes() for path in before} == before
    assert status.read(whole.status).state == "done"


@pytest.mark.slow
def test_two_trainings_at_once_have_one_writer(folder, monkeypatch):
    """The second is refused by name; one that waits finds the work done."""
    monkeypatch.chdir(folder)
    paths = training(folder, "twice")
    first = start(folder, paths)
    at_checkpoint(first, paths, 0)
    first.send_signal(signal.SIGSTOP)
    try:
        refused = start(folder, paths)
        _, errors = refused.communicate()
        assert refused.returncode == 1
        assert f"found process {first.pid} on" in errors
        waiting = start(folder, paths, "--wait")
        for line in waiting.stderr:
            if f"waits for process {first.pid}" in line:
                break
        assert status.read(paths.status).pid == first.pid
    finally:
        first.send_signal(signal.SIGCONT)
    _, errors = first.communicate()
    assert first.returncode == 0, errors
    _, errors = waiting.communicate()
    assert waiting.returncode == 0, errors
    assert "was finished on" in errors
    assert len(json.loads(paths.manifest.read_text())["attempts"]) == 1


@pytest.mark.slow
def test_checkpoints_of_another_configuration_are_named_and_not_taken_up(folder, monkeypatch):
    monkeypatch.chdir(folder)
    paths = training(folder, "other")
    process = start(folder, paths)
    at_checkpoint(process, paths, 0)
    process.kill()
    process.communicate()
    (written,) = {path.parent for path in paths.work_dir.glob("*/iter_*.pth")}
    shutil.rmtree(paths.root / "train", ignore_errors=True)
    text = paths.config.read_text()
    paths.config.write_text(text.replace("lr=0.01", "lr=0.02"))
    errors = run(folder, paths)
    assert f"not going on from {written}" in errors
    record = json.loads(paths.manifest.read_text())
    assert record["resumed_from"] is None
    assert record["learning_rate"] == 0.02
