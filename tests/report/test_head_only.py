"""How well head-only predicts the order of full training: counted by hand."""

import json
import math
from pathlib import Path

import pandas as pd

from gumbel.experiment import matrix
from gumbel.paths import ExperimentPaths
from gumbel.report.head_only import agreement, as_text, figures
from tests.report.fixtures import make_experiment


def table(*rows: tuple[str, str, float | None, float | None]) -> pd.DataFrame:
    columns = ["architecture", "activation", "full", "head"]
    return pd.DataFrame(rows, columns=columns).assign(seed=0, metric="AP")


def test_pairs_of_the_same_architecture_that_both_order_alike_are_counted():
    found = agreement(
        table(
            ("a", "softmax", 0.1, 0.5), ("a", "sigmoid", 0.2, 0.6), ("a", "gumbel", 0.3, 0.4),  # 1 of 3
            ("b", "softmax", 0.1, 0.1), ("b", "gumbel", 0.9, 0.2),  # 1 of 1; never compared with a
        ),
        "AP",
    )  # fmt: skip
    assert (found["pairs"], found["alike"]) == (4, 2)


def test_the_correlation_is_that_of_the_differences():
    same = table(("a", "softmax", 0.1, 0.2), ("a", "sigmoid", 0.2, 0.3), ("a", "gumbel", 0.5, 0.7))
    assert agreement(same, "AP")["correlation"] == 1
    turned = same.assign(head=-same["head"])
    assert agreement(turned, "AP") == {"pairs": 3, "alike": 0, "correlation": agreement(turned, "AP")["correlation"]}
    assert agreement(turned, "AP")["correlation"] < 0


def test_ties_and_missing_figures_are_no_pairs():
    found = agreement(table(("a", "softmax", 0.1, 0.1), ("a", "sigmoid", 0.1, 0.2), ("a", "gumbel", 0.2, None)), "AP")
    assert (found["pairs"], found["alike"]) == (0, 0)
    assert math.isnan(found["correlation"])


def test_figures_are_those_of_the_first_split_as_trained(tmp_path, monkeypatch):
    experiment = make_experiment(architectures=["mask_rcnn_r50"], activations=["softmax", "gumbel"])
    files = ExperimentPaths(experiment.name)
    full = files.cell("mask_rcnn_r50", "gumbel", 0).metrics("val", "matched")
    head = files.head_only("mask_rcnn_r50", "gumbel", 0).metrics("val", "matched")
    for path, value in ((full, 0.25), (head, 0.125)):
        target: Path = tmp_path / path
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps({"segm": {"AP": value, "APr": None, "APc": 0.5, "APf": 0.5}}))
    monkeypatch.chdir(tmp_path)
    found = figures(experiment)
    assert len(found) == len(matrix.cells(experiment)) * 4
    ours = found[(found["activation"] == "gumbel") & (found["metric"] == "AP")].iloc[0]
    assert (ours["full"], ours["head"]) == (0.25, 0.125)
    assert found[found["activation"] == "softmax"]["full"].isna().all()
    text = as_text(found, experiment)
    assert "25.0 | 12.5" in text
    assert "AP: 0 of 0 pairs of activations ordered alike" in text
