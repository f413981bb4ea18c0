"""The page of a study, from invented trainings."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.experiment.study import Study, levels
from gumbel.jobs.files import write_json
from gumbel.paths import CellPaths, StudyPaths
from gumbel.report import study as page
from tests.report import fixtures
from tests.report.test_page import Outline

#: Of trainings with seeds 0 to 2, by level; the file of the base has no name in it that another test could take.
AP = {
    ("low", "softmax"): (0.10, 0.12, 0.11),
    ("low", "gumbel"): (0.13, 0.14, 0.12),
    ("high", "softmax"): (0.20, 0.22, 0.24),
    ("high", "gumbel"): (0.26, 0.29, 0.29),
}
#: Quantile of Student's t with two degrees of freedom at 0.975, from a table.
T = 4.30265
INDEX = ["experiment", "activation", "metric"]


STUDY = Study(
    name="two",
    description="Two <levels>.",
    base="low.yaml",
    of="gumbel",
    against=["softmax"],
    factors={"data.imbalance": [10, 1000], "schedule": ["mini", "tail"]},
)


def write_base() -> dict[str, Experiment]:
    """The study's base, in the working folder; every experiment of the study."""
    base = fixtures.make_experiment(
        name="low",
        data={"imbalance": 10},
        architectures=["mask_rcnn_r50"],
        activations=["softmax", "gumbel"],
        seeds=[0, 1, 2],
        splits=["val"],
        released_scoring=[],
    )
    Path("low.yaml").write_text(yaml.safe_dump(base.model_dump(mode="json")))
    return {level.experiment.name: level.experiment for level in levels(STUDY)}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of both levels of the imbalance, with the AP above; none of the other."""
    root = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, experiment in list(write_base().items())[:2]:
            fixtures.build(root, experiment, categories=12)
            for (level, activation), values in AP.items():
                for seed, value in enumerate(values):
                    if (level == "low") == (name == "low"):
                        change(cell(experiment, activation, seed), AP=value)
    return root


@pytest.fixture
def experiments(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Experiment]:
    """The experiments of the study, whose trainings are in the working folder."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return write_base()


def cell(experiment: Experiment, activation: str, seed: int) -> CellPaths:
    return matrix.Cell("mask_rcnn_r50", activation, seed).paths(experiment)


def words() -> str:
    """Of the page, as it is written now."""
    return " ".join(Outline(page.write(STUDY).read_text()).text.split())


def change(files: CellPaths, **figures: float | None) -> None:
    record = json.loads(files.metrics("val", "matched").read_text())
    write_json(files.metrics("val", "matched"), record | {"segm": record["segm"] | figures})


def exported(name: str) -> pd.DataFrame:
    return pd.read_csv(StudyPaths("two").exports / f"{name}.csv").set_index(INDEX).sort_index()


def test_means_have_the_t_interval_of_their_trainings(experiments):
    page.write(STUDY)
    row = exported("means").loc["low", "softmax", "AP"]
    assert (row["trainings"], row["value"]) == (3, pytest.approx(0.11))
    reach = T * 0.01 / math.sqrt(3)  # the standard deviation of 0.10, 0.11 and 0.12 is 0.01
    assert (row["low"], row["high"]) == (pytest.approx(0.11 - reach, abs=1e-6), pytest.approx(0.11 + reach, abs=1e-6))
    assert "11.0 (8.5 to 13.5)" in (StudyPaths("two").report).read_text()


def test_differences_are_paired_by_seed(experiments):
    page.write(STUDY)
    row = exported("differences").loc["low", "softmax", "AP"]
    reach = T * 0.01 / math.sqrt(3)  # of 0.03, 0.02 and 0.01
    assert (row["value"], row["low"]) == (pytest.approx(0.02), pytest.approx(0.02 - reach, abs=1e-6))
    cell(experiments["low"], "gumbel", 0).manifest.unlink()
    page.write(STUDY)
    row = exported("differences").loc["low", "softmax", "AP"]
    assert (row["trainings"], row["value"]) == (2, pytest.approx(0.015))
    assert exported("means").loc["low", "softmax", "AP"]["trainings"] == 3


def test_the_summary_counts_the_intervals_without_0_and_names_them(experiments):
    text = words()
    judged = exported("differences").loc[:, :, ["AP", page.THIRD], :]
    clear = (judged["low"] > 0) | (judged["high"] < 0)
    assert f"{clear.sum()} of 4 differences of Gumbel from others" in text
    # Of 0.06, 0.07 and 0.05; that of the other level is 0.02 (-0.005 to 0.045)
    assert " AP, Gumbel − Softmax: +6.0 (+3.5 to +8.5) in low_data_imbalance_1000. " in text


def test_what_is_not_done_is_named_with_its_reason_and_hides_nothing(experiments):
    high = experiments["low_data_imbalance_1000"]
    cell(high, "gumbel", 1).weight_norms.unlink()
    cell(high, "softmax", 2).metrics("val", "matched").write_text("{")
    text = words()
    assert "10 of 18 trainings are done" in text
    assert "low_schedule_tail: 6 of 6 trainings are not done; softmax/seed0 missing: not started" in text
    assert "low_data_imbalance_1000: 2 of 6 trainings are not done; softmax/seed2 failed: unreadable results" in text
    assert exported("differences").loc["low_data_imbalance_1000", "softmax", "AP"]["trainings"] == 1
    assert math.isnan(exported("differences").loc["low_data_imbalance_1000", "softmax", "AP"]["low"])


def test_the_page_of_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_base()
    assert "0 of 18 trainings are done" in words()
    assert "No difference has an interval yet" in words()
    page = StudyPaths("two").report.read_text()
    assert "<figure" not in page
    assert "<table" not in page, "a setting of which nothing is done has no empty table"


def test_a_level_without_rare_categories_has_dashes_in_their_place(experiments):
    for seed in range(3):
        for activation in ("softmax", "gumbel"):
            files = cell(experiments["low"], activation, seed)
            change(files, APr=None)
            table = pd.read_parquet(files.per_category("val", "matched"))
            table.assign(frequency="f").to_parquet(files.per_category("val", "matched"))
    page.write(STUDY)
    means = exported("means")
    assert not {"APr", page.ABOVE_ZERO} & set(means.loc["low", "gumbel"].index)
    assert {"APr", page.ABOVE_ZERO} <= set(means.loc["low_data_imbalance_1000", "gumbel"].index)
    lines = (StudyPaths("two").exports / "results.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| 10 | Gumbel | 3 |"))
    assert row.split(" | ")[5] == row.split(" | ")[8] == "–"


def test_rare_categories_above_0_are_counted_among_those_of_the_split(experiments):
    for seed, above in enumerate((1, 2, 3)):
        files = cell(experiments["low"], "gumbel", seed)
        table = pd.read_parquet(files.per_category("val", "matched"))
        rare = np.flatnonzero((table["iou_type"] == "segm") & (table["frequency"] == "r"))
        values = table["AP"].to_numpy(copy=True)
        values[rare] = [0.5] * above + [0.0] * (len(rare) - above)
        values[rare[-1]] = np.nan  # no objects in the split
        table.assign(AP=values).to_parquet(files.per_category("val", "matched"))
    page.write(STUDY)
    assert len(rare) > 4
    assert f"| 2.0 of {len(rare) - 1} |" in (StudyPaths("two").exports / "results.md").read_text()


def test_the_rarest_third_is_the_same_where_the_categories_are_and_needs_a_tail():
    ids = [3, 5, 8, 9, 11, 12]
    flat, steep = pd.Series([20] * 6, ids), pd.Series([30, 2, 60, 1, 9, 40], ids)
    others = pd.Series([1, 50, 70], [3, 5, 8])
    found = page._rarest_thirds({"flat": flat, "steep": steep, "others": others})
    assert found == {"flat": [9, 5], "steep": [9, 5], "others": [3]}
    assert page._rarest_thirds({"flat": flat}) == {"flat": []}


def test_a_setting_of_which_only_the_base_is_there_is_left_out(experiments):
    page.write(STUDY)
    results = (StudyPaths(STUDY.name).exports / "results.md").read_text()
    assert re.findall("^### `(.*)`$", results, re.MULTILINE) == ["data.imbalance"]


def test_every_figure_is_exported_and_the_markdown_names_it(experiments):
    written = page.write(STUDY)
    exports = StudyPaths("two").exports
    named = re.findall(r"\]\((.*?)\)", (exports / "results.md").read_text())
    assert sorted(named) == sorted(path.name for path in exports.glob("*.svg"))
    assert len(named) == len(page.DRAWN) + len(page.ANSWERS)
    outline = Outline(written.read_text())
    assert len([tag for tag, _ in outline.tags if tag == "figure"]) == len(named) + 2  # AP over training, of two levels
    assert "Two <levels>." in outline.text
    assert not [tag for tag, _ in outline.tags if tag == "script"]
