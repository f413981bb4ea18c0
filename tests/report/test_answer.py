"""The answer says of every model what its interval says of its sign, and draws what the summary holds."""

import re
from pathlib import Path

import pandas as pd
import pytest

from gumbel.experiment.schema import Experiment
from gumbel.report.page.results import Results
from gumbel.report.page.sections.answer import Answer
from tests.report import fixtures

MODELS = ["mask_rcnn_r50", "mask_rcnn_r101", "mask_rcnn_x101", "cascade_r101", "htc_r101"]


def summary(bounds: dict[str, tuple[float, float]], experiment: Experiment, level: float = 0.2) -> pd.DataFrame:
    """Rows of a summary in which Gumbel differs from the others, at ``level``, by these bounds in every metric."""
    rows = []
    for architecture, (low, high) in bounds.items():
        for metric in ("AP", "APr", "APc", "APf"):
            key = {"architecture": architecture, "iou_type": "segm", "metric": metric, "scoring": "matched"}
            key |= {"split": experiment.splits[0]}
            lead, bound = (low + high) / 2, {"low": low, "high": high, "error": 0.0}
            for activation in experiment.activations:
                value = level + lead * (activation == "gumbel")
                side = {"source": "evaluation", "activation": activation, "value": value}
                rows += [key | side | {"seed": seed} for seed in experiment.seeds]
            paired = {"source": "paired", "activation": "gumbel", "value": lead}
            rows += [key | paired | bound | {"text": f"{other}/matched"} for other in ("softmax", "sigmoid")]
    return pd.DataFrame(rows, columns=["state", *dict.fromkeys(key for row in rows for key in row)])


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Results, "verdicts", [])


def answer(bounds: dict[str, tuple[float, float]], trainings: int = 3, **options: float) -> Answer:
    experiment = fixtures.make_experiment(seeds=list(range(trainings)))
    return Answer(Results(experiment, summary(bounds, experiment, **options)))


def test_an_interval_on_one_side_of_zero_has_a_sign_and_one_across_it_has_none() -> None:
    found = answer({"mask_rcnn_r50": (0.01, 0.03), "mask_rcnn_r101": (-0.03, -0.01), "cascade_r101": (-0.01, 0.02)})
    rare = next(one for one in found.contrasts if (one.metric, one.against) == ("APr", "softmax"))
    assert rare.signs == dict(
        zip(MODELS, ["higher", "lower", "not run", "no clear difference", "not run"], strict=True)
    )
    assert rare.said == "higher in 1 of 5 models, lower in 1, no clear difference in 1, not run in 2"
    assert found.headline[0] == f"Rare AP: {rare.said}"
    assert found.clearest is None


@pytest.mark.parametrize("trainings", [1, 2])
def test_fewer_than_three_trainings_have_no_sign_however_clear_their_interval(trainings: int) -> None:
    found = answer(dict.fromkeys(MODELS[:3], (0.01, 0.03)) | {"htc_r101": (-0.05, -0.03)}, trainings)
    said = "too few trainings for a verdict in 4 of 5 models (−4.0 to +2.0 points), not run in 1"
    assert found.headline == [f"Rare AP: {said}", f"AP: {said}"]
    assert found.few
    assert found.clearest is None


def test_one_training_each_says_that_its_interval_is_over_images_alone() -> None:
    svg = answer({"mask_rcnn_r50": (0.01, 0.03)}, trainings=1).figures["differences"][0].svg
    assert "M-R50, Gumbel minus softmax: +2.00 (images alone: +1.00 to +3.00)" in svg


def test_a_bound_that_other_draws_may_move_across_zero_is_marked() -> None:
    experiment = fixtures.make_experiment(seeds=[0, 1, 2])
    rows = summary({"mask_rcnn_r50": (0.0001, 0.03)}, experiment)
    rows["error"] = 0.0001
    svg = Answer(Results(experiment, rows)).figures["differences"][0].svg
    assert "+0.01 to +3.00); a bound is within" in svg


def test_two_sides_at_zero_are_not_measurable_whatever_the_interval() -> None:
    found = answer(dict.fromkeys(MODELS, (0.0, 0.0)), level=0.0)
    assert found.headline == ["Rare AP: not measurable in 5 of 5 models", "AP: not measurable in 5 of 5 models"]


def test_what_most_models_agree_on_is_the_clearest_effect() -> None:
    found = answer(dict.fromkeys(MODELS[:4], (-0.05, -0.03)) | {"htc_r101": (-0.01, 0.02)})
    assert found.clearest is not None
    contrast, sign, ends = found.clearest
    assert (sign, ends) == ("lower", "−4.0")
    assert contrast.said == "lower in 4 of 5 models, no clear difference in 1"


def test_the_forest_says_every_difference_with_its_bounds() -> None:
    figure = answer({"mask_rcnn_r50": (0.01, 0.03)}).figures["differences"][0]
    bounds = "(images and trainings: +1.00 to +3.00)"
    assert f"<title>M-R50, Gumbel minus softmax: +2.00 {bounds}</title>" in figure.svg
    assert f"Gumbel minus sigmoid: M-R50 +2.00 {bounds}" in figure.words
    ticks = re.findall(r">([+−]?[\d.]+)</text>", figure.svg)
    assert {tick[0] for tick in ticks} == {"+", "−", "0"}
    assert {tick for tick in ticks if tick[0] == "0"} == {"0"}  # the only one without a sign


def test_the_paper_s_differences_are_diamonds_beside_ours() -> None:
    experiment = fixtures.make_experiment()
    rows = summary({"mask_rcnn_r50": (0.01, 0.03)}, experiment)
    key = {"source": "paper", "architecture": "mask_rcnn_r50", "iou_type": "segm", "metric": "AP", "text": "x"}
    paper = [("gumbel", "matched", 0.19), ("softmax", "matched", 0.152), ("sigmoid", "released", 0.164)]
    published = [key | {"activation": name, "scoring": how, "value": value} for name, how, value in paper]
    found = Answer(Results(experiment, pd.concat([rows, pd.DataFrame(published)], ignore_index=True)))
    svg = found.figures["differences"][0].svg
    assert "M-R50, Gumbel minus softmax, the paper: +3.80" in svg
    assert "M-R50, Gumbel minus sigmoid, the paper: +2.60" in svg
