"""Figures say in words what they show, and stay small whatever they are given."""

import numpy as np
import pandas as pd
import pytest

from gumbel.report.drawing import figures
from gumbel.report.drawing.styles import Palette

PALETTE = Palette(["softmax", "gumbel"])
BOUNDS = {"low": [np.nan], "high": [np.nan]}


def norms(categories: int) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    part = pd.DataFrame({"category_id": np.arange(categories), "image_count": draw.integers(1, 2000, categories)})
    parts = [part.assign(activation=name, norm=draw.gamma(9, 1, categories)) for name in ("softmax", "gumbel")]
    return pd.concat(parts, ignore_index=True)


def test_a_figure_of_1203_categories_is_as_small_as_one_of_60() -> None:
    few, many = (len(figures.weight_norms(norms(count), "norms", PALETTE).svg) for count in (60, 1203))
    assert many < 1.2 * few


def test_the_words_of_a_norm_figure_are_the_spread_of_all_categories() -> None:
    table = norms(1203)
    spread = table[table["activation"] == "gumbel"]["norm"].to_numpy()
    assert f"gumbel {spread.std() / spread.mean():.2f}" in figures.weight_norms(table, "norms", PALETTE).words


def test_binning_keeps_every_category_while_there_are_few() -> None:
    table = norms(45)
    part = table[table["activation"] == "softmax"]
    assert len(figures._binned(part, bins=60)) == 45
    assert len(figures._binned(part, bins=10)) == 10


@pytest.mark.parametrize("title", ["<script>", 'a "quoted" & b'])
def test_titles_are_escaped(title: str) -> None:
    frame = pd.DataFrame({"model": ["M-R50"], "activation": ["gumbel"], "value": [19.0], "kind": ["mean"]} | BOUNDS)
    svg = figures.results(frame, title, ["M-R50"], PALETTE).svg
    assert title not in svg
    assert "M-R50, gumbel: 19.00" in svg


def test_a_result_figure_without_values_is_drawn_empty() -> None:
    frame = pd.DataFrame({"model": ["M-R50"], "activation": ["gumbel"], "value": [np.nan], "kind": ["mean"]} | BOUNDS)
    assert "<svg" in figures.results(frame, "nothing", ["M-R50"], PALETTE).svg


def test_a_model_without_results_keeps_its_place() -> None:
    frame = pd.DataFrame({"model": ["H-R101"], "activation": ["gumbel"], "value": [19.0], "kind": ["mean"]} | BOUNDS)
    svg = figures.results(frame, "AP", ["M-R50", "H-R101"], PALETTE).svg
    assert svg.index(">M-R50<") < svg.index(">H-R101<")
