"""The benchmarks of evaluation run as their documentation says, and their figures are right at small size."""

import json
import shutil
import subprocess
import sys

import pytest

from gumbel.paths import REPOSITORY


def last_line(*command: str) -> dict:
    """The JSON record that a benchmark ends with."""
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_parity_with_the_official_api_is_shown_on_every_kind_of_data():
    record = last_line("-m", "benchmarks.parity", "--draws", "8")
    assert record["largest"] < 1e-9
    assert min(record["seen"].values()) > 0


@pytest.mark.slow
def test_the_command_and_the_official_api_agree_on_the_data_whose_cost_is_measured():
    jobs = [f"--only={job}" for job in ("masks", "all", "official", "whole")]
    record = last_line("benchmarks/evaluation.py", "--scale", "0.002", *jobs)
    assert [record[f"{other} ratio"]["difference"] for other in ("official", "whole")] == [0, 0]
    assert record["all"]["result"] == record["masks"]["result"]
    assert {"AP", "AP50", "APf"} <= {name for name, value in record["masks"]["result"].items() if value is not None}


@pytest.mark.slow
def test_another_checkout_is_measured_on_the_same_data(tmp_path):
    for name in ("gumbel", "configs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    metrics = tmp_path / "gumbel" / "evaluation" / "metrics.py"
    options = ["--scale", "0.002", "--only=all", "--against", str(tmp_path)]
    assert last_line("benchmarks/evaluation.py", *options)["all ratio"]["same_files"]
    metrics.write_text(metrics.read_text().replace("iou=0.5)", "iou=0.55)"))
    changed = last_line("benchmarks/evaluation.py", *options)["all ratio"]
    assert not changed["same_files"]
    assert changed["difference"] > 0


@pytest.mark.slow
def test_coverage_is_counted_for_every_construction():
    arguments = ["--draws", "3", "--replicates", "20", "--images", "40", "--categories", "6"]
    table = last_line("benchmarks/coverage.py", *arguments)["table"]
    assert len(table) >= 5 * 8  # figures, constructions
    assert all(row["coverage"] * 3 == pytest.approx(round(row["coverage"] * 3)) for row in table.values())
