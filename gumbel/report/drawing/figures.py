"""Figures of the report: declared with Altair, rendered to SVG that follows the page's light and dark colours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from markupsafe import Markup, escape

from gumbel.report.drawing.styles import HEAT, LINE, MUTED, Palette, Style, painted
from gumbel.words import activation_name, scientific

_FREQUENCY_SHAPES = {"rare": "triangle-down", "common": "diamond", "frequent": "circle"}

#: Marks of a figure of weight norms, at most.
BINS = 60

_NOISE = re.compile(
    r""" opacity="1"| (?:role|aria-[a-z]+|pointer-events|stroke-miterlimit|font-family|xmlns:xlink|version)="[^"]*\""""
    r"""| class="(?:mark-|background|foreground)[^"]*\""""
    r"""|<path d="[^"]*" display="none"/>|<path d="M0,0h0v0h0Z"/>"""
)
_PLACES = re.compile(r' (?:transform|d)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_LABELLED = re.compile(r"""<path aria-label="([^"]*)" role="graphics-symbol"([^>]*)/>""")


_CONFIG = {
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": LINE, "domainColor": LINE, "tickColor": LINE,
        "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 6, "tickSize": 3,
    },
    "axisX": {"grid": False, "labelFlush": False},
    "axisY": {"domain": False, "ticks": False},
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A picture of the report: inline SVG, its content in words, and the same as SVG to keep."""

    title: str
    svg: Markup
    width: float
    words: str
    drawing: str


def figure(title: str, chart: Any, words: str, hover: bool = False, key: Mapping[str, Style] | None = None) -> Figure:
    """Render ``chart`` as inline SVG that scales with the page, described by ``words``.

    ``hover`` keeps the description of each mark, which browsers show under the pointer. With a ``key``, the SVG to keep
    has the title and says which activation is which, as the page does for all its figures at once.
    """
    drawn = _drawn(chart)
    svg = _LABELLED.sub(r"<path\2><title>\1</title></path>", drawn) if hover else drawn
    svg = painted(_NOISE.sub("", svg), paper=False)
    svg = _PLACES.sub(lambda place: _DECIMALS.sub(r"\1", place[0]), svg)  # a hundredth of a pixel is enough
    width = float(re.findall(r' width="([\d.]+)"', svg)[0])
    svg = re.sub(r' width="[\d.]+" height="[\d.]+"', ' role="img"', svg, count=1)
    svg = svg.replace(">", f"><title>{escape(title)}</title><desc>{escape(words)}</desc>", 1)
    kept = _drawn(alt.layer(chart, _key(key)).properties(title=title)) if key else drawn
    return Figure(title, Markup(svg), width, words, painted(kept, paper=True))


def _drawn(chart: Any) -> str:
    spec = chart.to_dict(validate=False) | {"config": _CONFIG, "background": "transparent", "padding": 2}
    return vl_convert.vegalite_to_svg(spec)


def _key(styles: Mapping[str, Style]) -> Any:
    names = [activation_name(name) for name in styles]
    legend = alt.Legend(title=None, orient="bottom", columns=2, symbolOpacity=1, labelColor=MUTED, labelFontSize=12)
    of: dict[str, Any] = {
        "color": alt.Color(
            "of:N", scale=alt.Scale(domain=names, range=[one.colour for one in styles.values()]), legend=legend
        ),
        "shape": alt.Shape(
            "of:N", scale=alt.Scale(domain=names, range=[one.shape for one in styles.values()]), legend=legend
        ),
    }
    return alt.Chart(pd.DataFrame({"of": names})).mark_point(opacity=0, filled=True).encode(**of)


def results(frame: pd.DataFrame, title: str, models: list[str], palette: Palette) -> Figure:
    """The paper's result figure: AP of each activation over ``models``.

    ``frame`` has columns model (short name), activation, kind (mean, seed, or paper: a hollow mark), value, low and
    high (AP x 100; the bounds may be NaN).
    """
    frame = frame.dropna(subset="value")
    frame = frame.assign(label=[_label(row) for row in frame.itertuples()])
    base = alt.Chart(frame, width=400, height=230).encode(
        x=alt.X(
            "model:N",
            sort=models,
            title=None,
            axis=alt.Axis(labelAngle=0, labelPadding=6, ticks=False),
            scale=alt.Scale(type="point", domain=models, padding=0.4),
        ),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(domainMin=0, nice=True), axis=alt.Axis(tickCount=5)),
        description="label:N",
    )
    layers, words = [base.mark_point(opacity=0)], []
    beside, both = list(palette), {"mean", "paper"} <= set(frame["kind"])
    apart = min(13, 78 // max(len(beside), 1))  # pixels
    for (activation, kind), part in frame.groupby(["activation", "kind"], sort=False):
        style = palette[str(activation)]
        place = beside.index(str(activation)) if activation in beside else len(beside)
        aside = apart * (place - (len(beside) - 1) / 2)
        if both:
            aside += round(0.3 * apart) * (1 if kind == "paper" else -1)
        offset: dict[str, Any] = {"xOffset": aside}
        marks = base.properties(data=part)
        bars = base.properties(data=part.dropna(subset=["low", "high"])).encode(y="low:Q", y2="high:Q")
        points = style.point(80, opacity=1) | {"filled": kind != "paper", "strokeWidth": 1.5}
        if kind == "seed":
            points = style.point(14, opacity=0.5)
        layers += [bars.mark_rule(color=style.colour, strokeWidth=1.6, **offset), marks.mark_point(**points, **offset)]
        if kind != "seed":
            values = ", ".join(label.replace(f", {activation}", "") for label in part["label"])
            words.append(f"{activation}{' (paper)' if kind == 'paper' else ''}: {values}")
    return figure(title, alt.layer(*layers), "; ".join(words), hover=True)


def _label(row: Any) -> str:
    bounds = "" if pd.isna(row.low) else f" ({row.low:.2f} to {row.high:.2f})"
    return f"{row.model}, {row.activation}: {row.value:.2f}{bounds}"


def _training_images() -> alt.X:
    axis = alt.Axis(values=[10**k for k in range(6)], format="~s")
    return alt.X("image_count:Q", scale=alt.Scale(type="log", nice=False), title="training images", axis=axis)


def line(frame: pd.DataFrame, style: dict[str, Any], x: alt.X, y: alt.Y, size: tuple[int, int] = (290, 130)) -> Any:
    """A chart of one line; ``size`` is its width and height in pixels."""
    return alt.Chart(frame, width=size[0], height=size[1]).mark_line(**style).encode(x=x, y=y)


def sorted_norms(frame: pd.DataFrame, title: str, palette: Palette, points: int = 100) -> Figure:
    """Each activation's norms over their mean, largest first, against the share of categories: one line each."""
    x = alt.X("share:Q", title="categories, largest norm first (%)", axis=alt.Axis(tickCount=5))
    layers, words = [], []
    for activation, part in frame.groupby("activation", sort=False):
        norm = np.sort(part["norm"].to_numpy())[::-1] / part["norm"].mean()
        place = np.linspace(0, len(norm) - 1, min(points, len(norm)))
        share = 100 * place / max(len(norm) - 1, 1)
        curve = pd.DataFrame({"share": share.round(1), "norm": np.interp(place, np.arange(len(norm)), norm).round(3)})
        words.append(f"{activation} from {norm[0]:.2f} to {norm[-1]:.2f}")
        layers.append(line(curve, palette[str(activation)].line(1.8), x, _relative_norm(), (285, 170)))
    return figure(title, alt.layer(*layers), "; ".join(words))


def _relative_norm() -> alt.Y:
    return alt.Y("norm:Q", title="norm / mean", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))


def weight_norms(frame: pd.DataFrame, title: str, palette: Palette, bins: int = BINS) -> Figure:
    """Norm against training images: columns activation, image_count, norm, category_id.

    Norms are divided by their activation's mean, since only their balance is compared. More categories
    than ``bins`` are shown as medians over neighbours in the order of image count.
    """
    shown = pd.concat(_binned(part, bins) for _, part in frame.groupby("activation", sort=False))
    layers = []
    for activation, part in shown.groupby("activation", sort=False):
        style = palette[str(activation)]
        base = alt.Chart(part, width=285, height=170).encode(x=_training_images(), y=_relative_norm())
        layers.append(base.mark_point(**style.point(22, opacity=0.55)))
        trend = base.transform_regression("image_count", "norm", method="log")
        layers.append(trend.mark_line(**style.line(1.8)))
    spread = frame.groupby("activation", sort=False)["norm"].agg(lambda norm: norm.std(ddof=0) / norm.mean())
    words = "Coefficient of variation: " + ", ".join(f"{name} {value:.2f}" for name, value in spread.items())
    return figure(title, alt.layer(*layers), words)


def _binned(part: pd.DataFrame, bins: int) -> pd.DataFrame:
    ordered = part[part["image_count"] > 0].sort_values(["image_count", "category_id"])
    group = np.arange(len(ordered)) * min(bins, len(ordered)) // max(len(ordered), 1)
    relative = ordered.assign(norm=ordered["norm"] / part["norm"].mean())
    return relative.groupby(group).agg({"activation": "first", "image_count": "median", "norm": "median"})


def heat_map(probability: np.ndarray, title: str) -> Figure:
    """Probability of an object per cell of the grid: array (G, G), rows from the top; darkest at its maximum."""
    rows, columns = np.indices(probability.shape)
    frame = pd.DataFrame({"row": rows.ravel(), "column": columns.ravel(), "probability": probability.ravel()})
    side = 210
    shade = alt.Scale(domain=[0, float(probability.max()) or 1.0], range=[0, 1])
    chart = (
        alt.Chart(frame, width=side, height=side, view=alt.ViewBackground(stroke=LINE, strokeOpacity=1))
        .mark_rect(color=HEAT, stroke=None)
        .encode(
            x=alt.X("column:O", axis=None, scale=alt.Scale(paddingInner=0)),
            y=alt.Y("row:O", axis=None, scale=alt.Scale(paddingInner=0)),
            opacity=alt.Opacity("probability:Q", scale=shade, legend=None),
        )
    )
    words = f"mean {scientific(probability.mean())}, peak {scientific(probability.max())}"
    return figure(title, chart, words)


def expected_occurrence(frame: pd.DataFrame, title: str) -> Figure:
    """Expected occurrence against training images: columns image_count, expected, frequency (in words)."""
    powers = alt.Axis(format=".0e", values=[10.0**-k for k in range(9)])
    y = alt.Y("expected:Q", scale=alt.Scale(type="log"), title=None, axis=powers)
    means = frame.groupby("frequency", sort=False)["expected"].mean()
    words = "Mean: " + ", ".join(f"{name} {scientific(value)}" for name, value in means.items())
    return _by_images(frame[(frame["expected"] > 0) & (frame["image_count"] > 0)], title, y, words)


def location_imbalance(frame: pd.DataFrame, title: str) -> Figure:
    """Location imbalance (1 - location entropy) against training images: columns image_count, imbalance, frequency."""
    shown = frame[frame["image_count"] > 0].dropna(subset="imbalance")
    y = alt.Y("imbalance:Q", title="location imbalance", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5))
    means = shown.groupby("frequency", sort=False)["imbalance"].mean()
    words = "Mean: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items())
    return _by_images(shown, title, y, words)


def _by_images(frame: pd.DataFrame, title: str, y: alt.Y, words: str) -> Figure:
    """A mark a category, its shape its frequency."""
    shapes = alt.Scale(domain=list(_FREQUENCY_SHAPES), range=list(_FREQUENCY_SHAPES.values()))
    shape = alt.Shape("frequency:N", legend=None, scale=shapes)
    marks = alt.Chart(frame, width=300, height=190).mark_point(size=24, color=HEAT, opacity=0.7, filled=True)
    return figure(title, marks.encode(x=_training_images(), y=y, shape=shape), words)


def training(frame: pd.DataFrame, title: str, palette: Palette, zero: bool = True, points: int = 80) -> Figure:
    """Training curves: columns activation, iteration, value; each point the mean of its neighbours."""
    x = alt.X("iteration:Q", title="iteration", axis=alt.Axis(tickCount=5, format="~s"))
    y = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=zero))
    layers, words = [], []
    for activation, part in frame.dropna(subset="value").groupby("activation", sort=False):
        group = np.arange(len(part)) * min(points, len(part)) // max(len(part), 1)
        smooth = part.groupby(group)[["iteration", "value"]].mean().round(4)
        words.append(f"{activation} from {smooth['value'].iloc[0]:.2f} to {smooth['value'].iloc[-1]:.2f}")
        layers.append(line(smooth, palette[str(activation)].line(1.6), x, y))
    return figure(title, alt.layer(*layers), "; ".join(words))


def over_training(frame: pd.DataFrame, title: str, palette: Palette) -> Figure:
    """AP over training: columns activation, seed, percent (of the training), value (AP x 100); the line is the mean."""
    x = alt.X("percent:Q", title="% of the training", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4), scale=alt.Scale(zero=True))
    layers, words = [], []
    for activation, part in frame.groupby("activation", sort=False):
        style = palette[str(activation)]
        ordered: Any = part.groupby("percent", as_index=False)["value"].mean().round(2)
        words.append(f"{activation} " + ", ".join(f"{p.value:.1f} at {p.percent} %" for p in ordered.itertuples()))
        layers.append(line(ordered, style.line(1.6), x, y))
        seeds = alt.Chart(part[["percent", "value"]].round(2)).encode(x=x, y=y)
        layers.append(seeds.mark_point(**style.point(30, opacity=0.8)))
    return figure(title, alt.layer(*layers), "; ".join(words))


def by_level(frame: pd.DataFrame, title: str, axis: str, palette: Palette, zero: bool = False) -> Figure:
    """A figure against the levels of a setting, a line an activation, with its interval where there is one.

    ``frame`` has columns activation, level (text, in order), value, low and high (may be NaN); ``axis`` is the setting.
    """
    frame = frame.round(4)
    levels, beside = frame["level"].unique().tolist(), frame["activation"].unique().tolist()
    x = alt.X(
        "level:N", sort=None, title=axis, axis=alt.Axis(labelAngle=0, ticks=False), scale=alt.Scale(domain=levels)
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=zero), axis=alt.Axis(tickCount=5))
    layers, words = [], []
    for activation, part in frame.groupby("activation", sort=False):
        style = palette[str(activation)]
        aside: dict[str, Any] = {"xOffset": 7 * (beside.index(activation) - (len(beside) - 1) / 2)}
        base = alt.Chart(part, width=285, height=170).encode(x=x, y=y)
        bars = base.properties(data=part.dropna()).encode(y="low:Q", y2="high:Q")
        layers += [
            base.mark_line(**style.line(1.6), **aside),
            bars.mark_rule(color=style.colour, strokeWidth=1.6, **aside),
        ]
        layers.append(base.mark_point(**style.point(45, opacity=1), **aside))
        shown: Any = part.dropna(subset="value").itertuples()
        words.append(f"{activation} " + ", ".join(f"{row.value:.2f} at {row.level}" for row in shown))
    return figure(title, alt.layer(*layers), "; ".join(words), key={name: palette[name] for name in beside})
