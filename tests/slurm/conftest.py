"""Clusters that live as long as the tests, an undisturbed run on the first, and copies of that run to disturb.

Every test runs on both kinds of cluster. ``SLURM_TEST_KINDS=real`` chooses one.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest

from tests.slurm.cluster import Cluster, unavailable
from tests.slurm.real import RealCluster, real_unavailable
from tests.slurm.workspace import Workspace, checkout

KINDS = {"simple": (Cluster, unavailable), "real": (RealCluster, real_unavailable)}
CHOSEN = os.environ.get("SLURM_TEST_KINDS", " ".join(KINDS)).split()


@pytest.fixture(scope="session", params=CHOSEN)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two idle nodes; skips the test where there can be none."""
    if "SLURM_TESTS" not in os.environ:
        pytest.skip("SLURM_TESTS is not set: a cluster of its own and its faults take a quarter of an hour or more")
    kind, reason = KINDS[request.param]
    if why := reason():
        pytest.skip(why)
    # Other users than root have to reach it, which pytest does not let them do below its own folder
    with TemporaryDirectory(prefix="slurm-") as folder:
        cluster = kind(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def first_run() -> list[Workspace]:
    """The undisturbed run, once there is one: the files are the same on every cluster."""
    return []


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, first_run: list[Workspace], tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A reduced matrix that went through SLURM from nothing to the page, without a fault."""
    if not first_run:
        workspace = Workspace(checkout(tmp_path_factory.mktemp("undisturbed") / "checkout"), cluster)
        snakemake = workspace.start("reports/summary.html")
        watch = Thread(target=_watch, args=(workspace, snakemake.poll), daemon=True)
        watch.start()
        workspace.output = workspace.finish(snakemake, seconds=900)
        first_run.append(workspace)
    return first_run[0]


def _watch(workspace: Workspace, over: Callable[[], int | None]) -> None:
    """Note the largest number of jobs that wait or run at the same time."""
    while over() is None:
        workspace.most_jobs = max(workspace.most_jobs, len(workspace.cluster.jobs("PENDING,RUNNING")))
        time.sleep(1)


@pytest.fixture
def workspace(cluster: Cluster, undisturbed: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The undisturbed run as it was before one of its cells was trained."""
    copy = undisturbed.copy(tmp_path / "checkout", cluster)
    copy.forget_cell()
    yield copy
    copy.end()
    cluster.repair()


@pytest.fixture
def survived(workspace: Workspace, undisturbed: Workspace) -> Callable[[str, str], None]:
    """``survived(fault, happened)``: checks the result against the undisturbed one and notes the row of the table."""

    def check(fault: str, happened: str) -> None:
        workspace.require_same_result(undisturbed)
        workspace.note(fault, happened)

    return check
