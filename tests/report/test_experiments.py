"""Two experiments side by side: differences of the files that evaluation wrote."""

import json
from pathlib import Path

import numpy as np
import pytest

from gumbel.evaluation import bootstrap
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CellPaths
from gumbel.report.experiments import as_text, compare_experiments
from tests.report import fixtures

PLAIN = {"architectures": ["mask_rcnn_r50"], "activations": ["softmax", "gumbel"], "splits": ["val"], "snapshots": []}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("two")
    for experiment in (first(), second()):
        fixtures.build(root, experiment, categories=6)
    return root


def first() -> Experiment:
    return fixtures.make_experiment(name="first", **PLAIN)


def second(**changes: object) -> Experiment:
    """Like the first, with other images per GPU, sigmoid for softmax, and further activations."""
    record = PLAIN | {"name": "second", "training": {"images_per_gpu": 2}, "activations": ["gumbel", "sigmoid"]}
    return fixtures.make_experiment(**record | changes)


@pytest.fixture(autouse=True)
def here(root, monkeypatch):
    monkeypatch.chdir(root)


def cell(experiment: Experiment, root: Path) -> CellPaths:
    """Gumbel's files."""
    return CellPaths(root / matrix.cell(experiment, "mask_rcnn_r50", "gumbel", 0).paths(experiment).root)


def test_a_difference_is_that_of_the_metrics_that_evaluation_wrote(root):
    table = compare_experiments(first(), second()).differences.set_index("metric")
    values = [json.loads(cell(one, root).metrics("val", "matched").read_text())["segm"] for one in (first(), second())]
    assert table["difference"].all()
    for metric, row in table.iterrows():
        assert row["difference"] == pytest.approx(values[1][metric] - values[0][metric], abs=1e-12)
        assert (row["first"], row["second"]) == pytest.approx((values[0][metric], values[1][metric]), abs=1e-12)


def test_its_interval_is_the_percentiles_of_the_replicates_differences_and_wider_where_categories_are_a_sample(root):
    table = compare_experiments(first(), second()).differences.set_index("metric")
    replicates = [bootstrap.load(cell(one, root).bootstrap("val", "matched"))["segm"] for one in (first(), second())]
    for metric, row in table.iterrows():
        change = replicates[1].bootstrap[metric] - replicates[0].bootstrap[metric]
        low, high = np.quantile(change, [0.025, 0.975])
        if metric in ("APr", "APc", "APf"):
            assert row["low"] < low < high < row["high"]
        else:
            assert (row["low"], row["high"]) == pytest.approx((low, high), abs=1e-12)


def test_swapping_the_experiments_swaps_the_sign():
    there = compare_experiments(first(), second()).differences
    back = compare_experiments(second(), first()).differences
    assert there["difference"].to_numpy() == pytest.approx(-back["difference"].to_numpy(), abs=1e-12)
    assert there["low"].to_numpy() == pytest.approx(-back["high"].to_numpy(), abs=1e-12)


def test_it_names_the_settings_that_differ_and_the_cells_that_it_cannot_compare():
    compared = compare_experiments(first(), second())
    assert compared.settings == {"training.images_per_gpu": (4, 2)}
    assert set(compared.differences["activation"]) == {"gumbel"}
    assert compared.without == [
        "M-R50 Softmax: only in first",
        "M-R50 Sigmoid: only in second",
        "M-R50 Sigmoid, scored with softmax: only in second",
    ]
    assert "M-R50 Gumbel: not evaluated in later" in compare_experiments(first(), second(name="later")).without


def test_the_text_says_which_side_is_subtracted():
    text = as_text(compare_experiments(first(), second()), first(), second())
    assert text.startswith("second minus first; a positive difference means that second scores higher")
    assert "training.images_per_gpu: 4 -> 2" in text
    assert "not other trainings" in text


def test_other_first_splits_are_refused():
    with pytest.raises(ValueError, match="val of first and val_uniform of second; put the same split first"):
        compare_experiments(first(), second(splits=["val_uniform"]))
