"""The summary holds what the files hold, and shows what is missing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import status
from gumbel.paths import CellPaths, ExperimentPaths
from gumbel.report.summary.collect import COLUMNS, collect, headline_table
from tests.report import fixtures

Built = tuple[Path, Experiment]


@pytest.fixture
def built(tmp_path: Path) -> Built:
    experiment = fixtures.make_experiment(architectures=["mask_rcnn_r50", "cascade_r101"])
    fixtures.build(tmp_path, experiment, categories=12)
    return tmp_path, experiment


def cell_paths(built: Built, number: int) -> CellPaths:
    root, experiment = built
    return CellPaths(root / matrix.cells(experiment)[number].paths(experiment).root)


def states(built: Built) -> list[tuple[str, str]]:
    table = fixtures.below(built[0], collect, built[1])
    rows = table[table["source"] == "cell"]
    return list(zip(rows["state"], rows["text"].fillna(""), strict=True))


def test_every_figure_of_every_metrics_file_is_a_row(built: Built) -> None:
    root, experiment = built
    rows = fixtures.below(root, collect, experiment)
    found = rows[rows["source"] == "evaluation"].set_index(
        ["architecture", "activation", "seed", "split", "scoring", "iou_type", "metric"]
    )["value"]
    expected = {}
    for path in (root / "results/fake").glob("*/*/seed*/metrics/*/*.json"):
        architecture, activation, seed, _, split, name = path.relative_to(root / "results/fake").parts
        for iou_type in ("segm", "bbox"):
            for metric, value in json.loads(path.read_text())[iou_type].items():
                key = (architecture, activation, int(seed[4:]), split, name[:-5], iou_type, metric)
                expected[key] = value
    assert len(found) == len(expected) > 0
    for key, value in expected.items():
        assert np.isnan(found[key]) if value is None else found[key] == value


def test_every_figure_over_training_is_a_row_with_its_percentage(built: Built) -> None:
    root, experiment = built
    rows = fixtures.below(root, collect, experiment)
    rows = rows[(rows["source"] == "over_training") & (rows["iou_type"] == "segm") & (rows["metric"] == "AP")]
    assert len(rows) == len(matrix.cells(experiment)) * len(experiment.snapshots)
    for row in rows.itertuples():
        cell = CellPaths(root / f"results/fake/{row.architecture}/{row.activation}/seed{row.seed}")
        assert row.value == json.loads((cell.at(row.text).metrics("val", "matched")).read_text())["segm"]["AP"]


def test_weight_norm_statistics_agree_with_scipy(built: Built) -> None:
    from scipy import stats

    rows = fixtures.below(built[0], collect, built[1])
    table = pd.read_parquet(cell_paths(built, 5).weight_norms)
    cell = rows[
        (rows["source"] == "weight_norms") & (rows["architecture"] == "cascade_r101") & (rows["activation"] == "gumbel")
    ]
    values = cell.set_index(["text", "metric"])["value"]
    for stage, part in table.groupby("stage"):
        assert values[str(stage), "coefficient_of_variation"] == pytest.approx(stats.variation(part["norm"]))
        assert values[str(stage), "spearman"] == pytest.approx(stats.spearmanr(part["norm"], part["image_count"])[0])


def test_the_columns_are_those_that_are_documented(built: Built, tmp_path: Path) -> None:
    table = fixtures.below(built[0], collect, built[1])
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    table.to_parquet(tmp_path / "summary.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "summary.parquet"), table)


def test_the_paper_rows_are_fractions_with_their_bounds(built: Built) -> None:
    table = fixtures.below(built[0], collect, built[1])
    paper = table[table["source"] == "paper"]
    assert paper["value"].between(0, 0.5).all()
    assert (paper["low"] < paper["value"]).all()
    assert (paper["value"] < paper["high"]).all()


def test_a_complete_cell_is_done(built: Built) -> None:
    assert states(built) == [("done", "")] * 6


def test_a_cell_that_never_started_is_missing(tmp_path: Path) -> None:
    experiment = fixtures.make_experiment()
    table = fixtures.below(tmp_path, collect, experiment)
    cells = table[table["source"] == "cell"]
    assert cells["state"].tolist() == ["missing"] * 15
    assert set(cells["text"]) == {"not started"}


def test_a_failed_training_is_failed_with_its_reason_and_its_log(built: Built) -> None:
    message = status.Status(state="failed", message="FloatingPointError: NaN")
    status.write(cell_paths(built, 0).status, message)
    state, reason = states(built)[0]
    assert state == "failed"
    assert "FloatingPointError: NaN (log: results/fake/mask_rcnn_r50/softmax/seed0/logs/train.log)" in reason


def test_an_interrupted_training_is_missing_with_its_iteration(built: Built) -> None:
    paths = cell_paths(built, 1)
    paths.metrics("val", "matched").unlink()
    status.write(paths.status, status.Status(state="running", iteration=7, iterations=400))
    assert states(built)[1] == ("missing", "training stands at iteration 7 of 400")


def test_a_trained_cell_without_an_evaluation_is_missing_and_names_the_file(built: Built) -> None:
    cell_paths(built, 2).metrics("val_uniform", "matched").unlink()
    state, reason = states(built)[2]
    assert state == "missing"
    assert "seed0/metrics/val_uniform/matched.json is not there" in reason
    assert reason.endswith("(logs: results/fake/mask_rcnn_r50/gumbel/seed0/logs/)")


def test_a_damaged_file_fails_its_cell_and_no_other(built: Built) -> None:
    cell_paths(built, 3).metrics("val", "matched").write_text('{"schema": 1, "segm"')
    found = states(built)
    assert found[3][0] == "failed"
    assert "unreadable" in found[3][1]
    assert [state for state, _ in found].count("done") == 5


def test_the_headline_has_a_line_a_cell_and_rounds_to_one_decimal(built: Built) -> None:
    root, experiment = built
    cell_paths(built, 4).status.unlink()
    for path in cell_paths(built, 4).root.glob("metrics/*/*.json"):
        path.unlink()
    lines = headline_table(fixtures.below(root, collect, experiment)).splitlines()
    assert len(lines) == 2 + 6
    record = json.loads(cell_paths(built, 0).metrics("val", "matched").read_text())["segm"]
    assert lines[2].split()[-5:] == [f"{100 * record[name]:.1f}" for name in ("AP", "AP50", "APr", "APc", "APf")]
    assert lines[6].endswith("missing: not started")


def test_the_headline_of_nothing_names_every_cell(tmp_path: Path) -> None:
    text = headline_table(fixtures.below(tmp_path, collect, fixtures.make_experiment()))
    assert text.count("not started") == 15


def test_the_object_distribution_is_in_the_summary(built: Built) -> None:
    root, experiment = built
    table = fixtures.below(root, collect, experiment)
    with np.load(root / ExperimentPaths("fake").object_distribution) as arrays:
        rare = arrays["expected"][arrays["frequency"] == "r"].mean()
    row = table[
        (table["source"] == "object_distribution") & (table["metric"] == "expected") & (table["text"] == "rare")
    ]
    assert row["value"].item() == pytest.approx(rare)
