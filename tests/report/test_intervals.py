"""Intervals of the summary are those of the resampled figures, paired where activations are compared."""

import re
import warnings
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import seeds
from gumbel.analysis.weight_norms import resampled_statistics
from gumbel.evaluation import bootstrap
from gumbel.experiment.schema import Experiment
from gumbel.paths import REPOSITORY
from gumbel.report.summary import intervals
from gumbel.report.summary.collect import collect
from gumbel.report.verdicts.claims import decide, load_claims
from gumbel.words import SIMULATED
from tests.report import fixtures

Built = tuple[Path, Experiment]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("intervals")
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], seeds=[0, 1])
    fixtures.build(root, experiment, categories=9)
    return root, experiment


def made(source: str, experiment: Experiment, root: Path) -> list[dict]:
    with chdir(root):
        return [row for row in intervals.rows(experiment) if row["source"] == source]


def resamples(root: Path, activation: str, seed: int) -> dict[str, bootstrap.Resamples]:
    return bootstrap.load(
        root / f"results/fake/mask_rcnn_r50/{activation}/seed{seed}/metrics/val/matched.bootstrap.npz"
    )


def test_a_figure_has_the_interval_of_its_resamples(built: Built) -> None:
    root, experiment = built
    rows = fixtures.below(root, collect, experiment)
    row = rows[(rows["source"] == "evaluation") & (rows["activation"] == "gumbel") & (rows["seed"] == 1)]
    row = row[(row["split"] == "val") & (row["iou_type"] == "bbox") & (row["metric"] == "APr")].iloc[0]
    expected = bootstrap.interval([resamples(root, "gumbel", 1)["bbox"]], "APr")
    assert (row["value"], row["low"], row["high"]) == pytest.approx(expected)


def of_mean(rows: list[dict], activation: str, iou_type: str, metric: str) -> tuple[float, float, float]:
    row = next(r for r in rows if (r["activation"], r["iou_type"], r["metric"]) == (activation, iou_type, metric))
    return row["value"], row["low"], row["high"]


def test_the_mean_of_one_training_has_its_interval(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment, categories=9)
    rows = made("mean", experiment, tmp_path)
    expected = bootstrap.interval([resamples(tmp_path, "gumbel", 0)["segm"]], "APr")
    assert of_mean(rows, "gumbel", "segm", "APr") == pytest.approx(expected)
    assert len(rows) == 4 * 6


def test_the_mean_over_seeds_is_within_its_interval(built: Built) -> None:
    root, experiment = built
    value, low, high = of_mean(made("mean", experiment, root), "gumbel", "segm", "AP")
    assert value == pytest.approx(np.mean([resamples(root, "gumbel", s)["segm"].point["AP"][0] for s in (0, 1)]))
    assert low < value < high


def test_every_pair_of_sides_is_compared_both_ways_with_opposite_signs(built: Built) -> None:
    rows = made("paired", built[1], built[0])
    sides = {(row["activation"], row["scoring"]) for row in rows}
    assert sides == {("softmax", "matched"), ("sigmoid", "matched"), ("sigmoid", "released"), ("gumbel", "matched")}
    values = {
        ("/".join((r["activation"], r["scoring"])), r["text"], r["iou_type"], r["metric"]): r["value"] for r in rows
    }
    assert len(values) == len(rows) == 4 * 3 * 6
    assert all(values[(b, a, *figure)] == -value for (a, b, *figure), value in values.items())


def test_one_seed_has_the_paired_difference_of_the_bootstrap(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment, categories=9)
    rows = made("paired", experiment, tmp_path)
    row = next(r for r in rows if (r["activation"], r["text"], r["metric"]) == ("gumbel", "softmax/matched", "APr"))
    first, second = (resamples(tmp_path, name, 0)["segm"] for name in ("softmax", "gumbel"))
    expected = bootstrap.paired_difference([first], [second], "APr")
    assert (row["value"], row["low"], row["high"]) == pytest.approx(expected)


def test_the_difference_is_that_of_the_means_over_seeds_and_lies_within(built: Built) -> None:
    root, experiment = built
    row = next(
        r for r in made("paired", experiment, root) if (r["activation"], r["text"]) == ("gumbel", "softmax/matched")
    )
    means = [
        np.mean([resamples(root, name, seed)["segm"].point["AP"] for seed in (0, 1)]) for name in ("gumbel", "softmax")
    ]
    assert row["value"] == pytest.approx(means[0] - means[1])
    assert row["low"] < row["value"] < row["high"]


def test_bounds_have_the_monte_carlo_error_of_their_replicates(built: Built) -> None:
    root, experiment = built
    row = next(
        r for r in made("paired", experiment, root) if (r["activation"], r["text"]) == ("gumbel", "softmax/matched")
    )
    sides = [[resamples(root, name, seed)["segm"] for seed in (0, 1)] for name in ("softmax", "gumbel")]
    assert row["error"] == bootstrap.monte_carlo_error(*sides, "AP") > 0


def test_it_is_counted_on_how_many_categories_a_figure_of_a_group_rests(built: Built) -> None:
    rows = made("above_zero", built[1], built[0])
    assert {row["metric"] for row in rows} == {"APr", "APc", "APf"}
    assert {(int(row["value"]), row["text"]) for row in rows if row["metric"] == "APc"} == {(6, "7")}


def test_statistics_of_the_norms_have_intervals_over_categories_and_trainings(built: Built) -> None:
    root, experiment = built
    paths = [root / f"results/fake/mask_rcnn_r50/gumbel/seed{seed}/weight_norms.parquet" for seed in (0, 1)]
    trainings = [resampled_statistics(pd.read_parquet(path))[0] for path in paths]
    expected = bootstrap.interval(trainings, "gini")
    row = next(r for r in made("norm_mean", experiment, root) if (r["activation"], r["metric"]) == ("gumbel", "gini"))
    assert (row["value"], row["low"], row["high"]) == pytest.approx(tuple(expected))
    pair = next(
        r
        for r in made("norm_paired", experiment, root)
        if (r["activation"], r["text"], r["metric"]) == ("softmax", "gumbel/matched", "spearman")
    )
    assert pair["low"] < pair["value"] < pair["high"]


def test_a_correlation_s_interval_stays_within_what_a_correlation_can_be(built: Built) -> None:
    root, experiment = built
    paths = [root / f"results/fake/mask_rcnn_r50/softmax/seed{seed}/weight_norms.parquet" for seed in (0, 1)]
    trainings = [resampled_statistics(pd.read_parquet(path))[0] for path in paths]
    assert bootstrap.interval(trainings, "spearman", within=(-np.inf, np.inf)).high > 1
    row = next(
        r for r in made("norm_mean", experiment, root) if (r["activation"], r["metric"]) == ("softmax", "spearman")
    )
    assert -1 < row["low"] < row["high"] == 1


def test_statistics_of_several_stages_are_compared_by_their_means(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["cascade_r101"], activations=["softmax", "gumbel"])
    experiment = experiment.model_copy(update={"released_scoring": []})
    fixtures.build(tmp_path, experiment, categories=9)
    with chdir(tmp_path):
        rows = list(intervals.rows(experiment))
    means = {
        (row["activation"], row["text"]): row["value"]
        for row in rows
        if row["source"] == "norm_mean" and row["metric"] == "gini"
    }
    assert {stage for _, stage in means} == {"0", "1", "2"}
    (pair,) = (
        r for r in rows if r["source"] == "norm_paired" and r["metric"] == "gini" and r["activation"] == "gumbel"
    )
    expected = np.mean([means["gumbel", stage] - means["softmax", stage] for stage in "012"])
    assert pair["value"] == pytest.approx(expected)


def test_claims_are_decided_on_the_interval(built: Built) -> None:
    root, experiment = built
    claims = [claim for claim in load_claims() if claim.id == "gumbel-above-softmax-ap"]
    verdict = next(v for v in decide(fixtures.below(root, collect, experiment), claims, experiment) if v.interval)
    row = next(
        r for r in made("paired", experiment, root) if (r["activation"], r["text"]) == ("gumbel", "softmax/matched")
    )
    assert verdict.interval == pytest.approx((100 * row["low"], 100 * row["high"]))


@pytest.mark.filterwarnings("ignore:no interval")
def test_results_on_other_images_are_not_paired_and_said_so(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"], released_scoring=[])
    fixtures.build(tmp_path, experiment, categories=9)
    path = tmp_path / "results/fake/mask_rcnn_r50/gumbel/seed0/metrics/val/matched.bootstrap.npz"
    other = {kind: one._replace(images=one.images + 1) for kind, one in bootstrap.load(path).items()}
    bootstrap.save(path, other)
    with pytest.warns(UserWarning, match="no interval for softmax/matched against gumbel/matched"):
        rows = made("paired", experiment, tmp_path)
    assert {row["activation"] for row in rows} == {"softmax", "sigmoid"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_damaged_file_costs_its_cell_and_no_other(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50"])
    fixtures.build(tmp_path, experiment, categories=9)
    path = tmp_path / "results/fake/mask_rcnn_r50/softmax/seed0/metrics/val/matched.bootstrap.npz"
    path.write_bytes(path.read_bytes()[:200])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = fixtures.below(tmp_path, collect, experiment)
    cells = rows[rows["source"] == "cell"].set_index("activation")
    assert cells["state"].to_dict() == {"softmax": "failed", "sigmoid": "done", "gumbel": "done"}
    assert "unreadable results" in cells.loc["softmax", "text"]
    assert "softmax" not in set(rows[rows["source"] == "paired"]["activation"])


def test_costs_of_errors_are_rows(built: Built) -> None:
    root, experiment = built
    rows = fixtures.below(root, collect, experiment)
    rows = rows[(rows["source"] == "errors") & (rows["activation"] == "gumbel") & (rows["seed"] == 0)]
    assert set(rows["text"]) == {"all", "r", "c", "f"}
    missed = rows[(rows["metric"] == "missed") & (rows["text"] == "r")]["value"]
    assert missed.item() == pytest.approx(0.2 * (1 - 4 * fixtures.LEAD["gumbel"]) * 1.5)


@pytest.mark.parametrize("key", SIMULATED)
def test_the_coverage_that_the_page_names_is_the_documented_one(key: str) -> None:
    page = (REPOSITORY / "docs" / "evaluation.md").read_text()
    row = re.search(rf"\*\*{key}: `\w+`\*\* \| ([\d. |]+) \|$", page, re.MULTILINE)
    documented = [round(float(value)) for value in row[1].split(" | ")]
    named = [int(value) for value in re.findall(r"(\d+) %", SIMULATED[key])]
    assert 1 <= len(named) <= 2
    assert named == documented[: len(named)]


def test_the_tables_of_several_trainings_are_those_of_the_summary(built: Built) -> None:
    root, experiment = built
    table = fixtures.below(root, collect, experiment)
    rows = table[(table["source"] == "evaluation") & (table["iou_type"] == "segm") & (table["metric"] == "AP")]
    own = 100 * rows[(rows["activation"] == "gumbel") & (rows["split"] == "val")]["value"]
    with chdir(root):
        spread, verdicts = list(seeds.spread(table, experiment)), list(seeds.verdicts(table, experiment))
    (shown,) = (line for line in spread if "Gumbel" in line)
    assert f"{own.mean():.1f} ± {own.std():.1f} ({own.min():.1f} to {own.max():.1f})" in shown
    (line,) = (line for line in verdicts if "gumbel-above-softmax-ap " in line)
    *each, both = (float(re.sub("−", "-", cell.split()[0])) for cell in line.split("|")[3:6])
    assert both == pytest.approx(np.mean(each), abs=0.11)
