"""The paper as data agrees with itself, and the code holds none of it."""

import re

import pandas as pd
import pytest
import yaml

from gumbel.paths import CONFIGS, REPOSITORY
from gumbel.report.verdicts.claims import load_claims

PAPER = CONFIGS / "paper"
BACKBONES = {
    ("Mask R-CNN", "R50-FPN"): "mask_rcnn_r50",
    ("Mask R-CNN", "R101-FPN"): "mask_rcnn_r101",
    ("Mask R-CNN", "X101-64x4d-FPN"): "mask_rcnn_x101",
    ("Cascade Mask R-CNN", "R101-FPN"): "cascade_r101",
    ("HTC w/o semantic", "R101-FPN"): "htc_r101",
    ("GOL (Gumbel+DropLoss+normed mask)", "R50-FPN"): "mask_rcnn_r50",
    ("GOL (Gumbel+DropLoss+normed mask)", "R101-FPN"): "mask_rcnn_r101",
}
RECIPES = {
    "README reproduce table": "1x",
    "README figure (ap_maskrcnn.jpg)": "1x",
    "README pretrained table": "gol",
}


@pytest.fixture(scope="module")
def results() -> pd.DataFrame:
    return pd.read_csv(PAPER / "results.csv")


def test_every_result_is_a_published_number(results: pd.DataFrame) -> None:
    published = pd.read_csv(PAPER / "published.csv")
    published = published[published["table"].isin(RECIPES) & (published["dataset"] != "LVIS v0.5 val")]
    columns = {
        "ap": ("segm", "AP"),
        "ap_r": ("segm", "APr"),
        "ap_c": ("segm", "APc"),
        "ap_f": ("segm", "APf"),
        "ap_b": ("bbox", "AP"),
    }
    expected = {
        (
            RECIPES[row["table"]],
            BACKBONES[row["model"], row["backbone"]],
            row["activation"],
            *columns[column],
            row[column],
        )
        for row in published.to_dict("records")
        for column in columns
        if pd.notna(row[column])
    }
    keys = ["recipe", "architecture", "activation", "iou_type", "metric", "value"]
    found = {tuple(row) for row in results[keys].to_numpy()}
    assert found == expected


def test_every_result_has_one_row_a_source_and_an_uncertainty(results: pd.DataFrame) -> None:
    assert not results.duplicated(["recipe", "architecture", "activation", "scoring", "iou_type", "metric"]).any()
    assert results.notna().all(axis=None)
    assert (results["uncertainty"] > 0).all()


def test_published_sigmoid_numbers_are_of_the_released_scoring(results: pd.DataFrame) -> None:
    assert set(results[results["activation"] == "sigmoid"]["scoring"]) == {"released"}
    assert set(results[results["activation"] != "sigmoid"]["scoring"]) == {"matched"}


def test_ordering_claims_cover_every_architecture_of_the_paper(results: pd.DataFrame) -> None:
    claims = {claim.id: claim for claim in load_claims()}
    for name in ("gumbel-above-softmax-ap", "gumbel-above-softmax-apr", "balanced-weight-norms-spread"):
        assert claims[name].evidence.architectures == list(results["architecture"].unique())


def test_every_threshold_says_where_it_comes_from() -> None:
    claims = load_claims()
    assert all(claim.threshold for claim in claims if claim.counted)
    assert all(len(claim.threshold.origin) > 20 for claim in claims if claim.threshold)


def test_an_unknown_key_in_the_claims_is_refused(tmp_path) -> None:
    record = yaml.safe_load((PAPER / "claims.yaml").read_text())
    record["claims"][0]["treshold"] = 1
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(record))
    with pytest.raises(ValueError, match=r"claims\.yaml.*\n.*claims\.0\.difference\.treshold"):
        load_claims(path)


def test_the_report_holds_no_number_of_the_paper(results: pd.DataFrame) -> None:
    numbers = {f"{value:.1f}" for value in results["value"] if value > 5}
    for path in (REPOSITORY / "gumbel").rglob("*.py"):
        if path.parent.name == "report":
            code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
            assert not numbers & set(re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", code)), path
