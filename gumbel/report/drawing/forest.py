"""The forest plot: differences between activations, model by model."""

from typing import Any

import altair as alt
import pandas as pd

from gumbel.report.drawing.figures import Figure, figure
from gumbel.report.drawing.styles import LINE, MUTED, Palette
from gumbel.words import fixed

_ROW = 40  # pixels of a model


def forest(
    frame: pd.DataFrame, title: str, models: list[str], of: str, band: float | None, span: float, palette: Palette
) -> Figure:
    """Differences of ``of`` from the other activations: a row a model, a mark for each other activation.

    ``frame`` has columns model (short name), against (activation), kind (mean, seed or paper), value, low and high
    (points; the bounds may be NaN), over (what the bounds are over) and caveat. ``band`` is the threshold on both sides
    of zero; the axis runs to ±``span``.
    """
    others = list(dict.fromkeys(frame["against"]))
    frame = frame.assign(label=[_label(row, of) for row in frame.itertuples()])
    height, width = _ROW * len(models), 215
    x = alt.X(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[-span, span], nice=False),
        axis=alt.Axis(tickCount=5, grid=True, labelExpr="datum.value ? format(datum.value, '+.1~f') : '0'"),
    )
    axis = alt.Axis(minExtent=46, grid=True, domain=False, ticks=False, labelPadding=6)
    y = alt.Y("model:N", sort=models, title=None, axis=axis, scale=alt.Scale(domain=models))
    sized: dict[str, Any] = {"width": width, "height": height}
    layers: list[Any] = []
    if band is not None:
        ends = pd.DataFrame({"value": [-band], "end": [band]})
        layers.append(alt.Chart(ends, **sized).mark_rect(color=LINE, opacity=0.7).encode(x=x, x2="end:Q"))
    zero = pd.DataFrame({"value": [0.0]})
    layers.append(alt.Chart(zero, **sized).mark_rule(color=MUTED, strokeWidth=1.2).encode(x=x))
    words = []
    for (against, kind), part in frame.groupby(["against", "kind"], sort=False):
        aside = _ROW * ((others.index(str(against)) + 1) / (len(others) + 1) - 0.5)
        style = palette[str(against)]
        offset: dict[str, Any] = {"yOffset": aside}
        base = alt.Chart(part, **sized).encode(x=x, y=y, description="label:N")
        if kind == "mean":
            bars = part.dropna(subset=["low", "high"])
            rule = alt.Chart(bars, **sized).mark_rule(color=style.colour, strokeWidth=1.8, **offset)
            layers.append(rule.encode(x=alt.X("low:Q", title=None), x2="high:Q", y=y))
            values = part["model"] + " " + part["label"].str.partition(": ")[2]
            words.append(f"{of} minus {against}: {'; '.join(values)}")
        point: dict[str, Any] = {
            "mean": style.point(70, opacity=1),
            "seed": style.point(16, opacity=0.55),
            "paper": {"shape": "diamond", "size": 90, "filled": False, "color": style.colour, "strokeWidth": 1.5},
        }[str(kind)]
        layers.append(base.mark_point(**point, **offset))
    return figure(title, alt.layer(*layers), ". ".join(words), hover=True)


def _label(row: Any, of: str) -> str:
    """``M-R50, gumbel minus softmax: −1.13 (images alone: −1.88 to −0.23)``, and what it is if not the result."""
    bounds = "" if pd.isna(row.low) else f" ({row.over}: {fixed(row.low, '+.2f')} to {fixed(row.high, '+.2f')})"
    kind = {"mean": "", "seed": ", one seed", "paper": ", the paper"}[row.kind]
    caveat = f"; {row.caveat}" if row.caveat else ""
    return f"{row.model}, {of} minus {row.against}{kind}: {fixed(row.value, '+.2f')}{bounds}{caveat}"
