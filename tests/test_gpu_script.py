"""The script that proves things on a GPU: every step runs at small size, and none stops the next."""

import json
import os
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, gpu_steps
from gumbel.paths import REPOSITORY


def run(folder, *arguments: str) -> dict:
    """What ``benchmarks/gpu.sh --small`` wrote, and printed under ``printed``."""
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = [str(REPOSITORY / "benchmarks" / "gpu.sh"), "--small", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "gpu.json").read_text()) | {"printed": done.stdout}


@pytest.mark.slow
def test_steps_run_from_any_folder_and_are_told_in_one_table_and_one_record(tmp_path):
    record = run(tmp_path, "--only", "operators", "loss", "nccl")
    assert record["machine"]["versions"]["torch"] == torch.__version__
    steps = {step["step"]: step for step in record["steps"]}
    assert {name: step["problem"] for name, step in steps.items()} == dict.fromkeys(steps)
    nms, *pooled = steps["operators"]["found"]
    assert nms["equal"]
    assert [each["largest_difference"] for each in pooled] == [0.0, 0.0, 0.0]
    assert {each.get("loss") for each in steps["loss"]["found"]} >= {"gumbel", "released formula", "softmax"}
    assert steps["nccl"]["found"][0]["processes"] == 2
    assert steps["nccl"]["found"][0]["right"]
    for step in steps.values():
        assert f"\n{step['step']}" in record["printed"]


@pytest.mark.slow
def test_a_step_that_fails_is_told_with_its_reason_and_what_it_had_found_and_the_next_goes_on(tmp_path):
    """Without a GPU the steps at full size fail."""
    if torch.cuda.is_available():
        pytest.skip("has a GPU")
    with (tmp_path / "log").open("w") as log:
        failed = gpu.attempt(gpu.STEPS[0], small=False, limit=100, log=log)
        late = gpu.attempt(gpu.STEPS[0], small=True, limit=0.1, log=log)
    assert failed["problem"].startswith(("AssertionError", "RuntimeError"))
    assert late["problem"] == "out of time after 0 s"
    record = dict(machine=gpu.machine(), started="now", steps=[failed, late])
    assert failed["problem"] in gpu.table(record)


def test_every_step_is_a_function_and_all_fit_into_ten_minutes():
    assert all(callable(getattr(gpu_steps, step.name)) for step in gpu.STEPS)
    assert gpu.BUDGET < 600
    assert max(step.seconds for step in gpu.STEPS) < gpu.BUDGET


def test_a_row_of_the_trial_says_why_it_failed():
    row = dict(architecture="a", mode="fp16", steps=[], problem="out of memory")
    row |= dict(images_per_second=None, encoded_per_second=None)
    expected = dict(row="a/fp16", detected_per_s=None, encoded_per_s=None, failed="out of memory")
    assert gpu_steps._flat(row) == expected
