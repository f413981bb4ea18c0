"""What stops a training, and what is kept of it."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.optim import LinearLR

from gumbel.detection.hooks import HistoryHook, RateHook, ResumeHook, SnapshotHook
from gumbel.jobs.attempts import Attempts, read
from gumbel.paths import CellPaths


def train_on(losses: list[float], **options: float) -> HistoryHook:
    hook = HistoryHook(**options)
    runner = SimpleNamespace(iter=0, optim_wrapper=SimpleNamespace(get_lr=lambda: {"lr": [0.5]}))
    hook.before_train(runner)
    for iteration, loss in enumerate(losses):
        runner.iter = iteration
        batch = {"data_samples": [SimpleNamespace(img_id=10 * iteration + place) for place in range(2)]}
        hook.after_train_iter(runner, iteration, batch, {"loss": torch.tensor(loss)})
    return hook


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_stops_with_the_iteration_and_the_images(loss):
    with pytest.raises(FloatingPointError, match=rf"found {loss} at iteration 3 on images \[20, 21\]"):
        train_on([1.0, 2.0, loss])


def test_a_loss_that_grows_tenfold_over_its_start_stops_the_training():
    with pytest.raises(FloatingPointError, match=r"found 12 .* up to 6, 12 times .* images \[50, 51\]"):
        train_on([1.0, 1.0, 2.0, 5.0, 12.0, 12.0], window=2)


def test_single_peaks_and_a_loss_within_the_bound_stop_nothing():
    train_on([1.0, 1.0, 17.9, 1.0, 1.0, 9.0, 9.0, 10.9, 9.0], window=2)


def test_the_history_comes_back_from_a_checkpoint_bit_for_bit(tmp_path):
    hook = train_on([0.1 + 0.2, 1e-300, 3.0])
    checkpoint = {"message_hub": {"log_scalars": {}}}
    hook.before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    resumed = HistoryHook()
    resumed.after_load_checkpoint(None, torch.load(tmp_path / "checkpoint.pth", weights_only=True))
    table = resumed.table()
    assert table.equals(hook.table())
    np.testing.assert_array_equal(table["loss"], np.float64(np.float32([0.1 + 0.2, 1e-300, 3.0])))
    assert table["iteration"].tolist() == [1, 2, 3]
    assert len(resumed) == 3


def test_time_in_which_a_training_waited_for_its_batch_is_part_of_the_iterations(monkeypatch):
    """Two iterations of 3 and 5 seconds, of which 2 and 1 passed before the batch was there."""
    clock = iter([10.0, 12.0, 13.0, 14.0, 18.0])
    monkeypatch.setattr("gumbel.detection.hooks.time.monotonic", lambda: next(clock))
    hook = HistoryHook()
    runner = SimpleNamespace(iter=0, optim_wrapper=SimpleNamespace(get_lr=lambda: {"lr": [0.5]}))
    hook.before_train(runner)
    for runner.iter in range(2):
        hook.before_train_iter(runner, runner.iter)
        hook.after_train_iter(runner, runner.iter, {"data_samples": []}, {"loss": torch.tensor(1.0)})
    assert hook.table()[["seconds", "waited"]].to_numpy().tolist() == [[3, 2], [5, 1]]


@pytest.mark.parametrize("loads", [1, 2, 3])
def test_the_rate_of_a_step_is_the_same_however_many_loads_make_it(loads):
    """A warm-up from 0.1 to 1 over ten steps."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    schedule = LinearLR(optimiser, start_factor=0.1, by_epoch=False, end=10)
    wrapper = SimpleNamespace(_accumulative_counts=loads)
    runner = SimpleNamespace(optim_wrapper=wrapper, param_schedulers=[schedule])
    taken = []
    for runner.iter in range(10 * loads):
        if (runner.iter + 1) % loads == 0:
            optimiser.step()
            taken.append(optimiser.param_groups[0]["lr"])
        RateHook().after_train_iter(runner, runner.iter)
    assert taken == pytest.approx(np.linspace(0.1, 1, 10))


def test_snapshots_hold_the_weights_after_the_last_whole_step_of_their_share(tmp_path):
    """22 iterations are 11 steps of two accumulated loads: 1 % is the first step, 50 % the fifth, 99 % the tenth."""
    model = torch.nn.Linear(1, 1)
    optimiser = SimpleNamespace(_accumulative_counts=2)
    runner = SimpleNamespace(model=model, optim_wrapper=optimiser, max_iters=22, work_dir=str(tmp_path))
    hook = SnapshotHook([1, 50, 99])
    for runner.iter in range(22):
        torch.nn.init.constant_(model.bias, runner.iter + 1)
        hook.after_train_iter(runner, runner.iter)
    kept = {
        percent: torch.load(CellPaths(tmp_path).at(percent).checkpoint, weights_only=True) for percent in hook.percents
    }
    assert {percent: weights["bias"].item() for percent, weights in kept.items()} == {1: 2, 50: 10, 99: 20}
    assert len(list(tmp_path.rglob("*.pth"))) == 3


def test_between_two_checkpoints_lie_at_most_ten_minutes_and_a_step(tmp_path, monkeypatch):
    """Iterations of 100 seconds, two a step, far below the interval: a step is the first after 540 seconds."""
    clock = [0.0]
    monkeypatch.setattr("gumbel.detection.hooks.time.monotonic", lambda: clock[0])
    saved = {}

    def save(folder: str, name: str, by_epoch: bool) -> None:
        Path(folder, name).write_text("")
        saved[runner.iter + 1] = clock[0]

    optimiser = SimpleNamespace(_accumulative_counts=2)
    runner = SimpleNamespace(optim_wrapper=optimiser, max_iters=26, work_dir=str(tmp_path), save_checkpoint=save)
    runner.train_loop = SimpleNamespace(stop_training=False)
    hook = ResumeHook(interval=1000)
    hook.before_train(runner)
    for runner.iter in range(26):
        clock[0] += 100
        hook.after_train_iter(runner, runner.iter)
    assert list(saved) == [6, 12, 18, 24, 26]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iter_24.pth", "iter_26.pth"]
    times = [0.0, *saved.values()]
    assert max(after - before for before, after in pairwise(times)) <= 600


def test_an_attempt_that_was_killed_counts_until_its_last_sign_of_life(tmp_path, monkeypatch):
    clock = iter([100.0, 107.0, 200.0, 203.0, 204.0])
    monkeypatch.setattr("gumbel.jobs.attempts.time.monotonic", lambda: next(clock))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    killed = Attempts(tmp_path / "attempts.json", first=0, processes=2, gpu="A")
    killed.write(30)
    resumed = Attempts(tmp_path / "attempts.json", first=25, processes=2, gpu="B")
    resumed.write(40)
    resumed.write(50, ended="done")
    found = read(tmp_path / "attempts.json")
    assert [(attempt.first, attempt.last, attempt.seconds, attempt.ended) for attempt in found] == [
        (0, 30, 7.0, None),
        (25, 50, 4.0, "done"),
    ]
    assert resumed.seconds == 11.0
    assert {attempt.slurm_job for attempt in found} == {"7"}
