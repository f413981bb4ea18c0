"""What SLURM would never run is refused before anything is submitted, in a sentence, and nothing is removed."""

import pytest

from tests.slurm.cluster import wait_for

pytestmark = pytest.mark.slow


def words(output: str) -> str:
    """Snakemake's output on one line, as a user reads it."""
    return " ".join(output.split())


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ({"account": "visoin"}, "Invalid account or account/partition combination specified"),
        ({"qos": "nromal"}, "Invalid qos specification"),
        ({"gpu_partition": "gpus"}, "invalid partition specified: gpus"),
        ({"constraint": "h100"}, "Invalid feature specification"),
        ({"gpu_type": "h100"}, "Requested node configuration is not available"),
        ({"gpus": 2}, "expected as many `gpus` in the profile as in the experiment tiny, found 2 and 1"),
    ],
)
def test_what_slurm_does_not_know_is_refused_at_once(workspace, cluster, setting, found):
    if cluster.kind == "simple" and {"account", "qos"} & set(setting):
        pytest.skip("accounts and QOS need accounting")
    workspace.set_cluster(**setting)
    configuration = workspace.cell.config.read_bytes()
    output = words(workspace.run(workspace.target, status=1))
    assert found in output
    assert "workflow/profiles/slurm/config.yaml" in output
    assert "has been submitted" not in output
    assert "Removing output" not in output
    assert not cluster.jobs()
    assert workspace.cell.config.read_bytes() == configuration


def test_a_time_above_the_partitions_limit_is_cut_to_it(workspace, cluster):
    workspace.set_cluster(gpu_partition="short")
    workspace.edit_profile("train", "runtime", '?grown("minutes", gpu_partition, 600)')
    workspace.start(workspace.target)
    assert cluster.describe(cluster.job("train"))["TimeLimit"] == "01:00:00"


def test_a_job_that_will_never_start_is_said_so(workspace, cluster):
    """Its time is given by hand, above the partition's limit."""
    workspace.set_cluster(gpu_partition="short")
    workspace.edit_profile("train", "runtime", "600")
    snakemake = workspace.start(workspace.target)
    log = workspace.folder / ".snakemake" / "log"

    def told() -> bool:
        return any("will not start as it is: PartitionTimeLimit" in path.read_text() for path in log.glob("*.log"))

    wait_for(lambda: told() or snakemake.poll() is not None, "it is said", 120)
    assert told() or "Requested time limit is invalid" in snakemake.communicate()[0]
