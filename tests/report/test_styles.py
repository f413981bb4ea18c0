"""Eight activations are told apart: by shape, by dash, and by colour even where reds and greens look alike."""

import re
from itertools import combinations

import numpy as np
import pytest

from gumbel.paths import TEMPLATES
from gumbel.report.drawing.styles import COLOURS, OTHER, SERIES, Palette, painted

STYLE = (TEMPLATES / "style.css").read_text()
#: What is seen without one kind of cones, in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
#: Linear sRGB to XYZ (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    share = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""
    low, high = sorted(XYZ[1] @ linear(colour) + 0.05 for colour in (one, other))
    return high / low


def variables(scheme: str) -> dict[str, str]:
    """The style sheet's colours, in the light or in the dark."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
    return dict(re.findall(r"--([\w-]+): (#\w{6})", {"light": light, "dark": dark}[scheme]))


def test_eight_activations_differ_in_each_of_colour_shape_and_dash() -> None:
    for what in ("name", "colour", "shape", "dash", "mark"):
        assert len({getattr(style, what) for style in (*SERIES, OTHER)}) == 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("seen", SEEN)
def test_eight_colours_stay_apart_whatever_cones_see_them(scheme: str, seen: str) -> None:
    """A difference of 2.3 is just noticeable."""
    colours = variables(scheme)
    places = [lab(np.array(SEEN[seen]) @ linear(colours[style.name])) for style in SERIES]
    assert min(np.linalg.norm(one - other) for one, other in combinations(places, 2)) > 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_stands_out_from_the_page_as_wcag_asks_of_graphics(scheme: str) -> None:
    colours = variables(scheme)
    assert min(contrast(colours[style.name], colours["page"]) for style in SERIES) >= 3


def test_paper_has_the_colours_of_the_light_page() -> None:
    light = variables("light")
    assert dict(COLOURS.values()) == {name: light[name] for name, _ in COLOURS.values()}


def test_styles_follow_the_order_of_the_experiment_and_no_name() -> None:
    assert list(Palette(["b", "a"]).items()) == [("b", SERIES[0]), ("a", SERIES[1])]
    assert Palette(["b", "a"])["z"] is OTHER
    assert Palette([str(number) for number in range(9)])["8"] is OTHER


def test_every_placeholder_is_painted_for_the_page_and_for_paper() -> None:
    drawn = " ".join(f'fill="{placeholder}"' for placeholder in COLOURS)
    assert re.findall(r"var\(--([\w-]+)\)", painted(drawn, paper=False)) == [name for name, _ in COLOURS.values()]
    assert not set(COLOURS) & set(re.findall(r"#\w{6}", painted(drawn, paper=True)))
