"""``snakemake --profile slurm``: what it asks SLURM for, and a reduced matrix through a real SLURM."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yte

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


@pytest.mark.parametrize("gpus", [1, 4])
def test_several_gpus_of_a_training_are_on_one_node_and_have_a_process_each(gpus):
    asked = profile("slurm", gpus=gpus)["set-resources"]["train"]
    assert (asked["gpu"], asked["nodes"], asked["cpus_per_task"]) == (gpus, 1, 4 * gpus)
    launcher = f"torchrun --standalone --nproc-per-node {gpus}" if gpus > 1 else None
    assert asked.get("launcher") == launcher


def test_memory_and_time_grow_with_the_attempt():
    found = profile("slurm")
    wildcards = type("Wildcards", (), {"architecture": "htc_r101"})
    for resources in [found["default-resources"], *found["set-resources"].values()]:
        for key in {"mem_mb", "runtime"} & set(resources):
            once, twice = (eval(resources[key], {"attempt": each, "wildcards": wildcards}) for each in (1, 2))
            assert twice == 2 * once


def test_retries_are_the_profiles_and_no_rule_has_its_own():
    """A rule's own retries also count inside the allocation, where nothing grows."""
    assert profile("slurm")["retries"] == 3
    for file in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        assert "retries:" not in file.read_text()


def test_sacct_without_accounting_is_answered_by_slurmctld(tmp_path):
    """As the plugin calls it, with a squeue that shows its arguments."""
    (tmp_path / "squeue").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "squeue").chmod(0o755)
    arguments = ["-X", "--parsable2", "--noheader", "--format=JobIdRaw,State", "--endtime", "now"]
    command = [PROFILES / "without_accounting" / "sacct", *arguments, "--name", "a-run"]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "--noheader --states=all --format=%i|%T --name a-run\n"


@pytest.mark.slow
def test_a_reduced_matrix_goes_through_slurm_to_the_page(undisturbed: Workspace):
    page = (undisturbed.folder / "reports" / "summary.html").read_text()
    assert "gumbel" in page
    submitted = re.findall(r"Job \d+ has been submitted with SLURM jobid (\d+)", undisturbed.output)
    # All ran as jobs of their own but what only writes configurations down: the experiment, how it differs from the
    # released recipe, two cells and a warm start
    total = int(re.search(r"^total +(\d+)$", undisturbed.output, re.M)[1])
    assert len(submitted) == len(set(submitted)) == total - (2 + 2 + 1)
    (attempt,) = undisturbed.attempts()
    assert attempt["slurm_job"] in submitted
    assert (attempt["first"], attempt["last"]) == (0, ITERATIONS)
    assert undisturbed.most_jobs == JOBS, "never more jobs in flight than configured, and never fewer for long"


@pytest.mark.slow
def test_slurm_gives_a_training_what_the_profile_asks_for(workspace: Workspace, cluster):
    workspace.start(workspace.target)
    workspace.pause_training()
    found = cluster.describe(cluster.job("train"))
    assert (found["NumNodes"], found["NumCPUs"], found["TresPerJob"]) == ("1", "4", "gres:gpu:1")
    assert (found["MinMemoryNode"], found["TimeLimit"], found["Requeue"]) == ("24000M", "1-00:00:00", "1")
