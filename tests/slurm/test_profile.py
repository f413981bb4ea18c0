"""``snakemake --profile slurm``: what it asks SLURM for, and a reduced matrix through a real SLURM."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yte

from gumbel.cluster import limits, requests
from gumbel.paths import REPOSITORY
from tests.slurm.workspace import ITERATIONS, JOBS, Workspace

PROFILES = REPOSITORY / "workflow" / "profiles"
PREDICTIONS = {"predict", "predict_released", "predict_snapshot", "predict_head", "features", "train_head"}
GPU_RULES = {"doctor", "warm_start", "train"} | PREDICTIONS


def profile(name: str, **cluster: object) -> dict:
    """A profile of the current folder as Snakemake reads it, with other settings of the cluster."""
    file = Path("workflow/profiles/slurm/config.yaml")
    text = (PROFILES / "slurm" / "config.yaml").read_text()
    for key, value in cluster.items():
        text, found = re.subn(rf"^  {key}: \w+", f"  {key}: {json.dumps(value)}", text, flags=re.MULTILINE)
        assert found == 1
    file.write_text(text)
    return yte.process_yaml((Path("workflow/profiles") / name / "config.yaml").read_text(), require_use_yte=True)


@pytest.fixture(autouse=True)
def in_a_checkout(tmp_path, monkeypatch):
    shutil.copytree(PROFILES, tmp_path / "workflow" / "profiles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # the profile puts a folder in front


@pytest.mark.parametrize("name", ["slurm", "slurm-gres"])
def test_a_bare_name_finds_the_profile_from_the_root(name):
    named = yte.process_yaml((REPOSITORY / name / "config.yaml").read_text(), require_use_yte=True)
    assert named == profile(name)


def test_only_training_prediction_and_the_checks_before_them_ask_for_gpus():
    rules = profile("slurm")["set-resources"]
    assert {rule for rule, resources in rules.items() if "gpu" in resources} == GPU_RULES
    assert "gpu" not in profile("slurm")["default-resources"]


def test_the_gres_variant_differs_in_how_it_asks_for_gpus_alone():
    plain, gres = profile("slurm", gpus=2), profile("slurm-gres", gpus=2)
    for rule in GPU_RULES:
        assert gres["set-resources"][rule].pop("gres") == f"gpu:{plain['set-resources'][rule].pop('gpu')}"
    assert gres == plain


def test_account_partitions_qos_and_constraint_are_set_in_one_place():
    found = profile("slurm", account="a", partition="cpu", gpu_partition="gpus", qos="long", constraint="a100")
    expected = {"slurm_account": "a", "slurm_partition": "cpu", "qos": "long"}
    assert found["default-resources"].items() >= expected.items()
    for rule in GPU_RULES:
        asked = found["set-resources"][rule]
        assert (asked["slurm_partition"], asked["constraint"]) == ("gpus", "a100")
    none = profile("slurm")
    assert not {"slurm_account", "slurm_partition", "qos"} & set(none["default-resources"])


@pytest.mark.parametrize(
    ("gpus", "nodes", "gres", "launcher"),
    [
        (1, 1, None, "python"),
        (4, 1, None, "torchrun --standalone --nproc-per-node 4"),
        (8, 2, "gpu:4", "srun --overlap --kill-on-bad-exit --nodes 2 --ntasks 8 --ntasks-per-node 4 --cpus-per-task 4 "
         "python"),
    ],
)  # fmt: skip
def test_a_training_has_a_process_for_each_gpu_and_as_many_on_each_node(gpus, nodes, gres, launcher):
    for rule in ("train", "warm_start"):
        asked = profile("slurm", gpus=gpus, nodes=nodes)["set-resources"][rule]
        assert (asked["nodes"], asked["processes"], asked["cpus_per_task"]) == (nodes, gpus, 4 * gpus // nodes)
        assert (asked.get("gpu"), asked.get("gres")) == ((None, gres) if gres else (gpus, None))
        assert asked["launcher"].endswith(launcher)


def test_the_type_of_the_gpus_is_set_in_one_place():
    plain, gres = (profile(name, gpu_type="a100", gpus=2)["set-resources"] for name in ("slurm", "slurm-gres"))
    assert {plain[rule]["gpu_model"] for rule in GPU_RULES} == {"a100"}
    assert {gres[rule]["gres"] for rule in GPU_RULES} == {"gpu:a100:1", "gpu:a100:2"}
    assert profile("slurm", gpu_type="a100", gpus=8, nodes=2)["set-resources"]["train"]["gres"] == "gpu:a100:4"


class Inputs(list):
    preflight = "doctor.json"


class Wildcards(dict):
    architecture = property(lambda self: self["architecture"])

    def __iter__(self):
        return iter(self.values())


JOB = {"wildcards": Wildcards(architecture="htc_r101", activation="gumbel", seed="0"), "input": Inputs(["a", "b"])}


@pytest.fixture
def ran_out():
    """Nothing ran out of anything before the test, nor after it."""
    requests._ran_out.clear()
    yield lambda kind: requests.ran_out(kind, JOB["wildcards"], JOB["input"])
    requests._ran_out.clear()


def test_memory_grows_after_too_little_memory_alone_and_time_after_too_little_time_alone(ran_out):
    found = profile("slurm", max_hours=48)
    for resources in [found["default-resources"], *found["set-resources"].values()]:
        asked = [{key: eval(resources[key], dict(JOB)) for key in ("mem_mb", "runtime")}]
        for kind in ("memory", "time"):
            ran_out(kind)
            asked.append({key: eval(resources[key], dict(JOB)) for key in ("mem_mb", "runtime")})
        first, more_memory, more_time = asked
        most = min(2 * first["runtime"], 48 * 60)
        assert more_memory == {"mem_mb": 2 * first["mem_mb"], "runtime": first["runtime"]}
        assert more_time == {"mem_mb": 2 * first["mem_mb"], "runtime": most}
        requests._ran_out.clear()


def test_a_training_asks_for_what_the_doctor_expects_and_without_him_for_the_papers_hours(ran_out):
    runtime = profile("slurm", max_hours=1000, gpus=2)["set-resources"]["train"]["runtime"]
    assert eval(runtime, dict(JOB)) == 30 + 1.5 * 162 / 2 * 60
    Path("doctor.json").write_text(json.dumps({"costs": [{"cell": "htc_r101/gumbel/seed0", "seconds": 7200}]}))
    assert eval(runtime, dict(JOB)) == 30 + 1.5 * 1 * 60


def test_nothing_asks_for_more_than_the_partition_has(tmp_path, monkeypatch, ran_out):
    """A partition of two days, and nodes of 10 and 20 GB; the default one has a day."""
    rows = {"%l": "short*|1-00:00:00\nlong|2-00:00:00", "%m": "short*|9000\nlong|10000\nlong|20000"}
    script = '#!/bin/sh\ncase "$*" in ' + " ".join(
        f"*{column}*) printf '{text}\\n' | grep \"${{4#--partition=}}\";;" for column, text in rows.items()
    )
    (tmp_path / "sinfo").write_text(script + " esac\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    limits.longest.cache_clear()
    limits.memory.cache_clear()
    found = profile("slurm", gpu_partition="long", max_hours=100)
    train = found["set-resources"]["train"]
    assert (eval(train["mem_mb"], dict(JOB)), eval(train["runtime"], dict(JOB))) == (20000, 2 * 24 * 60)
    for _ in range(40):
        ran_out("time")
    assert eval(found["default-resources"]["runtime"], dict(JOB)) == 24 * 60
    limits.longest.cache_clear()
    limits.memory.cache_clear()


def test_retries_are_the_profiles_and_no_rule_has_its_own():
    """A rule's own retries also count inside the allocation, where nothing grows."""
    assert profile("slurm")["retries"] == 3
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        assert "retries:" not in file.read_text()


@pytest.mark.slow
def test_a_reduced_matrix_goes_through_slurm_to_the_page(undisturbed: Workspace):
    page = (undisturbed.folder / "reports" / "summary.html").read_text()
    assert "gumbel" in page
    submitted = re.findall(r"Job \d+ has been submitted with SLURM jobid (\d+)", undisturbed.output)
    # All ran as jobs of their own but what needs a network, the data, and what only writes configurations down: the
    # experiment, how it differs from the released recipe, two cells and a warm start
    total = int(re.search(r"^total +(\d+)$", undisturbed.output, re.M)[1])
    assert len(submitted) == len(set(submitted)) == total - (1 + 2 + 2 + 1)
    (attempt,) = undisturbed.attempts()
    assert attempt["slurm_job"] in submitted
    assert (attempt["first"], attempt["last"]) == (0, ITERATIONS)
    assert undisturbed.most_jobs == JOBS, "never more jobs in flight than configured, and never fewer for long"


@pytest.mark.slow
def test_slurm_gives_a_training_what_the_profile_asks_for(workspace: Workspace, cluster):
    if ":" in cluster.gres:
        workspace.set_cluster(gpu_type=cluster.gres.partition(":")[2])
    workspace.start(workspace.target)
    workspace.pause_training()
    found = cluster.describe(cluster.job("train"))
    assert (found["NumNodes"], found["NumCPUs"], found["TresPerJob"]) == ("1", "4", f"gres:{cluster.gres}:1")
    # An estimate of seconds, and what is around it
    assert (found["MinMemoryNode"], found["TimeLimit"], found["Requeue"]) == ("24000M", "00:30:00", "1")
