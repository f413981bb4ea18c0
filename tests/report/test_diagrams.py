"""Curves of the activations are the formulas; figures of scores and errors say their numbers in words."""

import numpy as np
import pandas as pd
import pytest

from gumbel import activations
from gumbel.analysis import errors
from gumbel.report.drawing import diagrams
from gumbel.report.drawing.styles import Palette

PALETTE = Palette(["softmax", "sigmoid", "gumbel"])


@pytest.fixture(scope="module")
def curves() -> pd.DataFrame:
    return diagrams.curves(["softmax", "sigmoid", "gumbel"])


def of(curves: pd.DataFrame, name: str, option: str = "") -> pd.DataFrame:
    return curves[(curves["activation"] == name) & (curves["option"] == option)]


def test_gumbel_curves_are_equations_1_to_3(curves: pd.DataFrame) -> None:
    part = of(curves, "gumbel")
    u = np.exp(-part["q"])
    np.testing.assert_allclose(part["score"], np.exp(-u))
    np.testing.assert_allclose(part["positive"], u)
    np.testing.assert_allclose(part["negative"], -np.log1p(-np.exp(-u)), rtol=1e-6, atol=1e-300)
    np.testing.assert_allclose(part["positive_slope"], -u)
    np.testing.assert_allclose(part["negative_slope"], u / np.expm1(u), rtol=1e-9)


def test_released_curves_are_clamped(curves: pd.DataFrame) -> None:
    exact, released = of(curves, "gumbel"), of(curves, "gumbel", option="released")
    inside = exact["q"].between(-2.9, 9.9).to_numpy()
    np.testing.assert_allclose(released["positive"][inside], exact["positive"][inside], atol=2e-6)
    assert released["positive"].max() == 20
    assert (released["positive_slope"][released["q"] < -3] == 0).all()
    assert (released["negative_slope"][released["q"] > 10] == 0).all()


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_against_one_other_category_softmax_is_sigmoid(curves: pd.DataFrame, name: str) -> None:
    part = of(curves, name)
    score = 1 / (1 + np.exp(-part["q"]))
    np.testing.assert_allclose(part["score"], score)
    np.testing.assert_allclose(part["positive"], -np.log(score), rtol=1e-6)
    np.testing.assert_allclose(part["negative_slope"], score, rtol=1e-6)


def test_any_registered_activation_can_be_drawn() -> None:
    assert set(diagrams.curves(["parametric", "mirrored_gumbel"])["activation"]) == {"parametric", "mirrored_gumbel"}


def test_an_activation_that_mmdet_trains_has_no_curves_and_stops_none() -> None:
    assert activations.get("seesaw").loss is None
    assert set(diagrams.curves(["seesaw", "sigmoid"])["activation"]) == {"sigmoid"}
    assert diagrams.activation_figures(["seesaw", "eqlv2"]) == []


def test_there_is_a_figure_for_each_curve_with_its_values_in_words() -> None:
    drawn = diagrams.activation_figures(["gumbel"])
    assert [figure.title for figure in drawn] == [title for title, _ in diagrams.PANELS.values()]
    assert "0.368 at 0" in drawn[0].words


def test_a_histogram_says_how_many_detections_it_shows() -> None:
    score = np.array([0.05, 0.5, 0.55, 0.52])
    record = errors.histogram(score, np.array([True, True, True, False]))
    assert diagrams.scores({"gumbel": record}, "scores", PALETTE).words.startswith("gumbel: 3 true detections")


def test_a_calibration_figure_says_the_error_and_survives_none() -> None:
    score = np.repeat(0.75, 40)
    record = errors.calibration(score, np.arange(40) < 20)
    empty = errors.calibration(np.zeros(0), np.zeros(0, bool))
    words = diagrams.calibration({"gumbel": record, "softmax": empty}, "calibration", PALETTE).words
    assert words == "Calibration error: Gumbel 0.250, Softmax none"


def test_error_costs_leave_out_what_is_undefined() -> None:
    frame = pd.DataFrame({"kind": ["missed", "duplicate"], "activation": "gumbel", "cost": [12.34, np.nan]})
    assert diagrams.error_costs(frame, "errors", PALETTE).words == "gumbel: missed 12.3"
