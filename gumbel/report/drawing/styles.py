"""How activations are told apart: by their place in the experiment, in colour, shape and dash.

The colours follow Okabe and Ito's palette, which is safe for colour-blind readers (https://jfly.uni-koeln.de/color/),
as dark or as light as the page asks for. Figures are drawn in placeholders, which become the page's CSS variables, or
the colours of paper.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Style:
    """Colour (a placeholder, and its name in the style sheet), shape and dash of an activation; ``mark`` is its shape
    in a square of 12."""

    name: str
    colour: str
    shape: str
    dash: tuple[int, ...]
    mark: Markup

    def line(self, width: float) -> dict[str, Any]:
        """Options of a line of Altair's."""
        return {"color": self.colour, "strokeDash": list(self.dash), "strokeWidth": width}

    def point(self, size: int, opacity: float) -> dict[str, Any]:
        """Options of filled points of Altair's."""
        return {"color": self.colour, "shape": self.shape, "size": size, "opacity": opacity, "filled": True}

    @property
    def strokes(self) -> str:
        """The dash as SVG says it."""
        return "none" if self.dash == (1, 0) else " ".join(map(str, self.dash))


def _placeholder(number: int) -> str:
    return "#" + 3 * f"{number:02x}"


INK, MUTED, LINE, HEAT = map(_placeholder, range(1, 5))

#: On paper, shape, dash, and the element of the shape: of the first activation, the second, ...
_SERIES = (
    ("#0068a8", "circle", (2, 2), '<circle class="{}" cx="6" cy="6" r="5"/>'),
    ("#a8467f", "square", (6, 3), '<rect class="{}" x="1.5" y="1.5" width="9" height="9"/>'),
    ("#c24e00", "triangle-up", (1, 0), '<path class="{}" d="M6 0.5 11.5 11 0.5 11Z"/>'),
    ("#29a36a", "diamond", (10, 3), '<path class="{}" d="M6 0 12 6 6 12 0 6Z"/>'),
    ("#167df3", "cross", (6, 2, 2, 2), '<path class="{}" d="M4 0H8V4H12V8H8V12H4V8H0V4H4Z"/>'),
    ("#522e00", "triangle-down", (4, 4), '<path class="{}" d="M6 11.5 11.5 1 0.5 1Z"/>'),
    ("#290849", "triangle-right", (10, 2, 2, 2, 2, 2), '<path class="{}" d="M11.5 6 1 11.5 1 0.5Z"/>'),
    ("#8a8a8a", "triangle-left", (1, 4), '<path class="{}" d="M0.5 6 11 11.5 11 0.5Z"/>'),
)
SERIES = tuple(
    Style(f"series-{number}", _placeholder(number + 4), shape, dash, Markup(mark).format(f"series-{number}"))
    for number, (_, shape, dash, mark) in enumerate(_SERIES, start=1)
)
#: From the ninth activation on.
OTHER = Style("ink", INK, "stroke", (8, 2, 2, 2), Markup('<path class="ink" d="M0 5H12V7H0Z"/>'))

#: Placeholder to CSS variable and to the colour on paper.
COLOURS = {
    INK: ("ink", "#1b1f24"),
    MUTED: ("muted", "#5b646e"),
    LINE: ("line", "#e2e4e6"),
    HEAT: ("heat", "#0b4f7d"),
} | {style.colour: (style.name, paper) for style, (paper, *_) in zip(SERIES, _SERIES, strict=True)}


class Palette(dict[str, Style]):
    """The styles of activations in their order; one that is not among them has :data:`OTHER`."""

    def __init__(self, activations: Iterable[str]):
        super().__init__(zip(activations, SERIES, strict=False))

    def __missing__(self, activation: str) -> Style:
        return OTHER


def painted(svg: str, paper: bool) -> str:
    """``svg`` with the colours of paper, or with those of the page."""
    for placeholder, (variable, colour) in COLOURS.items():
        svg = svg.replace(f'"{placeholder}"', f'"{colour}"' if paper else f'"var(--{variable})"')
    return svg
