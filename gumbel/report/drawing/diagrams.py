"""More figures: the activations' curves, and what the detections' scores and errors look like."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gumbel import activations
from gumbel.activations import Activation
from gumbel.report.drawing.figures import Figure, figure, line
from gumbel.report.drawing.styles import MUTED, Palette
from gumbel.words import activation_name

#: Curves of an activation: title, and what limits the picture (losses and slopes grow without bound).
PANELS = {
    "score": ("Score", (0.0, 1.0)),
    "positive": ("Loss where the class is present", (0.0, 24.0)),
    "negative": ("Loss where it is absent", (0.0, 12.0)),
    "positive_slope": ("Gradient where the class is present", (-4.0, 0.5)),
    "negative_slope": ("Gradient where it is absent", (-0.5, 1.5)),
}
_LOW, _HIGH, _POINTS = -6.0, 12.0, 361


def curves(names: Iterable[str]) -> pd.DataFrame:
    """Score, losses and their derivatives over one logit, in float64: columns activation, option, q, and PANELS.

    An activation that lets classes compete is drawn against one other class of logit 0. One whose loss has options
    comes once more for each value that is no default, which ``option`` names. One that a module of mmdet trains has
    no such curve and is left out.
    """
    frames = []
    for name in names:
        activation = activations.get(name)
        if activation.loss is not None:
            others = [{option: value} for option, values in activation.options.items() for value in values[1:]]
            frames += [_curves(activation, activation.loss, options) for options in ({}, *others)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["activation", "option"])


def _curves(activation: Activation, loss: Callable[..., Tensor], options: Mapping[str, Any]) -> pd.DataFrame:
    q = torch.linspace(_LOW, _HIGH, _POINTS, dtype=torch.float64)

    def against_another(logit: Tensor) -> Tensor:
        return torch.stack([logit, torch.zeros_like(logit)], 1)

    layer = against_another if activation.competing else lambda logit: logit[:, None]
    columns: dict[str, Any] = {"q": q, "score": activation.scores(layer(q))[:, 0]}
    for side, present in (("positive", 1.0), ("negative", 0.0)):
        logit = q.clone().requires_grad_()
        if activation.competing:
            values = loss(layer(logit), torch.full((_POINTS,), int(1 - present)), reduction="none", **options)
        else:
            # each element on its own: the released code clamps the loss after reduction
            target = torch.full((1, 1), present).double()
            values = torch.stack([loss(row[None], target, **options) for row in layer(logit)]).flatten()
        columns[side] = values.detach()
        columns[f"{side}_slope"] = torch.autograd.grad(values.sum(), logit)[0]
    frame = pd.DataFrame({key: np.asarray(value, dtype=np.float64) for key, value in columns.items()})
    return frame.assign(activation=activation.name, option=" ".join(options.values()))


def activation_figures(names: Iterable[str]) -> list[Figure]:
    """A figure for each of :data:`PANELS`, of none if no activation has curves; other options thin and dotted."""
    names = list(names)
    frame, palette = curves(names), Palette(names)
    x = alt.X("q:Q", title="logit q", axis=alt.Axis(tickCount=7), scale=alt.Scale(nice=False))
    drawn = []
    for panel, (title, limits) in PANELS.items() if len(frame) else ():
        y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=limits), axis=alt.Axis(tickCount=5))
        layers, words = [], []
        for (name, option), part in frame.groupby(["activation", "option"], sort=False):
            if option and panel == "score":
                continue
            curve = part[["q"]].assign(value=part[panel].where(part[panel].between(*limits)).round(4))
            dotted = {"strokeDash": [1, 3], "strokeWidth": 2.4} if option else {}
            layers.append(line(curve, palette[str(name)].line(1.8) | dotted, x, y, (270, 160)))
            at = {q: np.interp(q, part["q"], part[panel]) for q in (-2, 0, 2)}
            values = ", ".join(f"{value:.3g} at {q}" for q, value in at.items())
            words.append(f"{name}{f' as {option}' if option else ''}: {values}")
        drawn.append(figure(title, alt.layer(*layers), "; ".join(words)))
    return drawn


def scores(histograms: Mapping[str, Mapping[str, list[float]]], title: str, palette: Palette) -> Figure:
    """Histogram of the scores of true detections, as a share of them, by activation; logarithmic bins."""
    decades = alt.Axis(values=[1e-4, 1e-3, 1e-2, 1e-1, 1], format="~g")
    x = alt.X("score:Q", title="score", scale=alt.Scale(type="log", nice=False), axis=decades)
    y = alt.Y("share:Q", title="% of true detections", axis=alt.Axis(tickCount=4))
    layers, words = [], []
    for activation, record in histograms.items():
        edges, number = np.array(record["edges"]), np.array(record["true"])
        share = 100 * number / max(number.sum(), 1)
        steps = pd.DataFrame({"score": edges, "share": np.append(share, share[-1:]).round(2)})
        peak = np.sqrt(edges[number.argmax()] * edges[number.argmax() + 1])
        words.append(f"{activation}: {number.sum():,} true detections, most with scores about {peak:.2g}")
        style = palette[activation].line(1.6) | {"interpolate": "step-after"}
        layers.append(line(steps, style, x, y, (285, 150)))
    return figure(title, alt.layer(*layers), "; ".join(words))


def calibration(records: Mapping[str, Mapping[str, Any]], title: str, palette: Palette, least: int = 10) -> Figure:
    """Share of true detections against mean score; the diagonal is perfect. Bins below ``least`` are left out."""
    unit: dict[str, Any] = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(tickCount=5)}
    diagonal = pd.DataFrame({"score": [0, 1], "true": [0, 1]})
    x, y = alt.X("score:Q", title="mean score", **unit), alt.Y("true:Q", title="share that is true", **unit)
    layers, words = [line(diagonal, {"color": MUTED, "strokeWidth": 1}, x, y, (200, 200))], []
    for activation, record in records.items():
        style = palette[activation]
        frame = pd.DataFrame({key: record[key] for key in ("number", "score", "true")})
        frame = frame[frame["number"] >= least].astype(float).round(4)
        base = alt.Chart(frame).encode(x=x, y=y)
        layers.append(base.mark_line(**style.line(1.6)))
        layers.append(base.mark_point(**style.point(40, opacity=1)))
        gap = record["error"]
        words.append(f"{activation_name(activation)} {'none' if gap is None else format(gap, '.3f')}")
    return figure(title, alt.layer(*layers), "Calibration error: " + ", ".join(words))


def precision_recall(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, palette: Palette) -> Figure:
    """Precision against recall, (n,) each, of every activation's detections of a category by falling score."""
    unit: dict[str, Any] = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(tickCount=5)}
    x, y = alt.X("recall:Q", title="recall", **unit), alt.Y("precision:Q", title="precision", **unit)
    layers, words = [], []
    for activation, (recall, precision) in curves.items():
        frame = pd.DataFrame({"recall": recall, "precision": precision}).round(4)
        # In the order of the scores: recalls repeat while false detections come in
        curve = frame.assign(rank=np.arange(len(frame)))
        style = palette[activation]
        layers.append(line(curve, style.line(1.8), x, y, (230, 160)).encode(order="rank:Q"))
        ends = alt.Chart(curve.tail(1)).encode(x=x, y=y)
        layers.append(ends.mark_point(**style.point(40, opacity=1)))
        words.append(f"{activation} up to a recall of {recall.max(initial=0.0):.2f}")
    return figure(title, alt.layer(*layers), "; ".join(words))


def error_costs(frame: pd.DataFrame, title: str, palette: Palette) -> Figure:
    """AP50 x 100 that each type of error costs: columns kind, activation, cost; one row of marks per kind."""
    kinds = list(dict.fromkeys(frame["kind"]))
    layers, words = [], []
    for activation, part in frame.dropna(subset="cost").groupby("activation", sort=False):
        label = [f"{activation}, {row.kind}: {row.cost:.2f}" for row in part.itertuples()]
        layers.append(
            alt.Chart(part.assign(label=label), width=280, height=24 * len(kinds))
            .mark_point(**palette[str(activation)].point(70, opacity=0.9))
            .encode(
                x=alt.X("cost:Q", title="AP50 lost (points)", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
                y=alt.Y("kind:N", sort=kinds, title=None, axis=alt.Axis(grid=True, minExtent=104, labelPadding=8)),
                description="label:N",
            )
        )
        words.append(
            f"{activation}: " + ", ".join(f"{k} {c:.1f}" for k, c in zip(part["kind"], part["cost"], strict=True))
        )
    return figure(title, alt.layer(*layers), "; ".join(words), hover=True)
