"""The benchmarks of loading and prediction run, and both sides agree."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("script", "options"),
    [("pipeline.py", ["--images", "4", "--repeats", "1"]), ("prediction.py", ["--repeats", "1"])],
)
def test_both_sides_of_a_benchmark_give_the_same(script, options):
    done = subprocess.run(
        [sys.executable, f"benchmarks/{script}", *options], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1])
