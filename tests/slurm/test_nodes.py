"""A training on two nodes ends with the bits of two processes on one, whatever happens to the nodes.

tests/detection/test_processes.py compares these with one process that accumulates their batches.
"""

import signal

import psutil
import pytest
import torch
import yaml

from tests.slurm.cluster import PATIENCE, Cluster, run, wait_for
from tests.slurm.workspace import EXPERIMENT, Workspace, suspend

pytestmark = pytest.mark.slow


def with_two_gpus(workspace: Workspace) -> None:
    """Two images a process, and four a step."""
    workspace.experiment = "two"
    own = {"name": "two", "gpus": 2, "training": {"images_per_gpu": 2}, "data_root": "data/two"}
    (workspace.folder / "two.yaml").write_text(yaml.safe_dump(EXPERIMENT | own))


def newest(workspace: Workspace) -> int:
    """Iteration of the last checkpoint."""
    return max((int(path.stem.removeprefix("iter_")) for path in workspace.checkpoints()), default=0)


def paused(workspace: Workspace, after: int) -> list[psutil.Process]:
    """Both processes, stopped behind a checkpoint beyond iteration ``after``."""

    def further() -> bool:
        return newest(workspace) > after and len(workspace.trainings()) == 2

    wait_for(further, "two processes train", 300, interval=0.02)
    trainings = workspace.trainings()
    for training in trainings:
        suspend(training)
    return trainings


def disturb(cluster: Cluster, job: str, how: str) -> signal.Signals:
    """Do something to a job on two nodes; the signal that its processes get."""
    if how == "warning":
        run("scancel", "--signal=USR1", job)
        return signal.SIGUSR1
    if how == "requeue":
        run("scontrol", "requeue", job)
    elif how == "preemption":
        run("sbatch", "--partition=high", "--nodelist=gpu02", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    else:
        for state in ("drain", "down"):
            run("scontrol", "update", "nodename=gpu02", f"state={state}", "reason=test")
        run("scontrol", "update", "nodename=gpu02", "state=resume")
    return signal.SIGTERM


def test_two_nodes_equal_one_through_warning_requeue_preemption_and_the_loss_of_a_node(workspace, cluster):
    with_two_gpus(workspace)
    workspace.set_cluster(gpus=2, nodes=2)
    snakemake = workspace.start(workspace.target)
    for how in ("warning", "requeue", "preemption", "loss of a node"):
        trainings = paused(workspace, newest(workspace))
        sign = disturb(cluster, cluster.job("train"), how)
        for training in trainings:
            workspace.resume_when_told(training, sign)
        psutil.wait_procs(trainings, timeout=120 * PATIENCE)
    output = workspace.finish(snakemake, seconds=600)
    assert "Trying to restart job" not in output
    attempts = workspace.attempts()
    assert len(attempts) == 5
    assert {attempt["processes"] for attempt in attempts} == {2}
    two = torch.load(workspace.cell.checkpoint, weights_only=True)

    workspace.forget_cell()
    workspace.set_cluster(nodes=1)
    workspace.run(workspace.target)
    (attempt,) = workspace.attempts()
    assert attempt["processes"] == 2
    one = torch.load(workspace.cell.checkpoint, weights_only=True)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
