"""The benchmarks of evaluation run as their documentation says, and their figures are right at small size."""

import json
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
def test_both_backends_and_the_official_api_agree_on_the_data_whose_cost_is_measured():
    record = last_line("benchmarks/evaluation.py", "--scale", "0.002")
    for iou_type, others in {"segm": ["official", "whole"], "bbox": ["official"]}.items():
        assert [record[iou_type][f"{other}_ratio"]["difference"] for other in others] == [0] * len(others)
        figures = record[iou_type]["hotcoco"]["result"].items()
        defined = {name: value for name, value in figures if value is not None}
        # Intervals are made around the figures themselves
        estimates = {name: record[iou_type]["bootstrap"]["result"][name] for name in defined}
        assert estimates == pytest.approx(defined, abs=1e-12)
        assert {"AP", "AP50", "APf"} <= set(defined)


@pytest.mark.slow
def test_coverage_is_counted_for_every_construction():
    arguments = ["--draws", "3", "--replicates", "20", "--images", "40", "--categories", "6"]
    table = last_line("benchmarks/coverage.py", *arguments)["table"]
    assert len(table) >= 5 * 8  # figures, constructions
    assert all(row["coverage"] * 3 == pytest.approx(round(row["coverage"] * 3)) for row in table.values())
