"""Several processes train as one does that accumulates their batches."""

import os
from itertools import islice

import mmengine.dataset.sampler as mmengine_sampler
import pytest
import torch

from gumbel.detection.loop import PlacedSampler
from tests.detection.test_interruption import folder, run, start, training  # noqa: F401 - a fixture


def batches(monkeypatch, rank: int, processes: int, number: int, start: int = 0) -> list[list[tuple[int, int]]]:
    monkeypatch.setattr(mmengine_sampler, "get_dist_info", lambda: (rank, processes))
    sampler = PlacedSampler(list(range(7)), batch_size=2, seed=3)
    sampler.start = start
    stream = iter(sampler)
    return [list(islice(stream, 2)) for _ in range(number)]


def test_the_processes_take_turns_at_the_batches_of_one(monkeypatch):
    alone = batches(monkeypatch, 0, 1, 12)
    first, second, third = (batches(monkeypatch, rank, 3, 4) for rank in range(3))
    assert [batch for turn in zip(first, second, third, strict=True) for batch in turn] == alone


def test_one_process_sees_the_images_in_mmengines_order(monkeypatch):
    alone = batches(monkeypatch, 0, 1, 12)
    expected = mmengine_sampler.InfiniteSampler(list(range(7)), seed=3)
    assert [index for batch in alone for index, _ in batch] == list(islice(iter(expected), 24))
    assert [place for batch in alone for _, place in batch] == list(range(24))


def test_an_order_that_is_begun_in_the_middle_goes_on_as_it_would_have(monkeypatch):
    for rank in range(2):
        assert batches(monkeypatch, rank, 2, 5, start=4) == batches(monkeypatch, rank, 2, 9)[4:]


def run_as_tasks(folder, paths, monkeypatch) -> None:  # noqa: F811
    """Train in two processes that know of each other what srun says of a task on each of two nodes; then once more.

    The second time all is finished, which the first process has to tell the other before it ends.
    """
    tools = folder / "tools"
    tools.mkdir()
    (tools / "scontrol").write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames node[1-2]" ] && printf "localhost\\nnode2\\n"\n'
    )
    (tools / "scontrol").chmod(0o755)
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "node[1-2]"}
    for _ in range(2):
        tasks = []
        for rank in range(2):
            task = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": "0", "SLURM_JOB_ID": str(os.getpid())}
            with monkeypatch.context() as patch:
                patch.setenv("PATH", str(tools), prepend=":")
                for name, value in (step | task).items():
                    patch.setenv(name, value)
                tasks.append(start(folder, paths))
        for task in tasks:
            _, errors = task.communicate(timeout=600)
            assert task.returncode == 0, errors


@pytest.mark.slow
def test_two_processes_equal_one_that_accumulates_two_batches(folder, monkeypatch):  # noqa: F811
    """gloo on the CPU; the mean of two gradients is that of halved ones, so all but the order of sums is the same."""
    monkeypatch.chdir(folder)
    changes = {"optim_wrapper.optimizer.lr": 0.01, "train_cfg.max_iters": 8}
    one = training(folder, "one", **changes)
    two = training(folder, "two", **{**changes, "train_cfg.max_iters": 4, "optim_wrapper.accumulative_counts": 1})
    run(folder, one)
    run(folder, two, launcher=("torch.distributed.run", "--standalone", "--nproc-per-node", "2"))
    nodes = training(folder, "nodes", **{**changes, "train_cfg.max_iters": 4, "optim_wrapper.accumulative_counts": 1})
    run_as_tasks(folder, nodes, monkeypatch)
    first, second, third = (torch.load(paths.checkpoint, weights_only=True) for paths in (one, two, nodes))
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(third[name], second[name], rtol=0, atol=0)
