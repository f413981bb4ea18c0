"""More figures: the activations' curves, and what the detections' scores and errors look like."""

from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import torch

from gumbel import activations
from gumbel.report.drawing.figures import OTHER, STYLES, Figure, figure

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
    """Score, losses and their derivatives over one logit, in float64: columns activation, released, q, and PANELS.

    An activation that lets classes compete (softmax) is drawn against one other class of logit 0. Gumbel comes
    twice, the second time as the released code computes its loss.
    """
    frames = [_curves(name, {}) for name in names]
    if "gumbel" in names:
        frames.append(_curves("gumbel", {"variant": "released"}))
    return pd.concat(frames, ignore_index=True)


def _curves(name: str, options: Mapping[str, Any]) -> pd.DataFrame:
    activation = activations.get(name)
    q = torch.linspace(_LOW, _HIGH, _POINTS, dtype=torch.float64)
    alone = activation.scores(q[:, None])
    competing = bool((alone == 1).all())
    columns: dict[str, Any] = {"q": q}
    columns["score"] = activation.scores(torch.stack([q, torch.zeros_like(q)], 1))[:, 0] if competing else alone[:, 0]
    for side, present in (("positive", 1.0), ("negative", 0.0)):
        logit = q.clone().requires_grad_()
        if competing:
            target = torch.full((_POINTS,), int(1 - present))
            loss = activation.loss(torch.stack([logit, torch.zeros_like(q)], 1), target, reduction="none")
        else:
            column = logit[:, None]
            # each element on its own: the released code clamps the loss after reduction
            pieces = [activation.loss(row[None], torch.full((1, 1), present).double(), **options) for row in column]
            loss = torch.stack(pieces).flatten()
        columns[side] = loss.detach()
        columns[f"{side}_slope"] = torch.autograd.grad(loss.sum(), logit)[0]
    frame = pd.DataFrame({key: np.asarray(value, dtype=np.float64) for key, value in columns.items()})
    return frame.assign(activation=name, released=bool(options))


def activation_figures(names: Iterable[str]) -> list[Figure]:
    """A figure for each of :data:`PANELS`; the released loss is drawn thin and dotted."""
    frame = curves(list(names))
    drawn = []
    for panel, (title, limits) in PANELS.items():
        layers, words = [], []
        for (name, released), part in frame.groupby(["activation", "released"], sort=False):
            if released and panel == "score":
                continue
            colour, _, dash = STYLES.get(str(name), OTHER)
            line = part[["q"]].assign(value=part[panel].where(part[panel].between(*limits)).round(4))
            style = {"strokeDash": [1, 3], "strokeWidth": 2.4} if released else {"strokeDash": dash, "strokeWidth": 1.8}
            chart = alt.Chart(line, width=270, height=160).mark_line(color=colour, **style)
            layers.append(
                chart.encode(
                    x=alt.X("q:Q", title="logit q", axis=alt.Axis(tickCount=7), scale=alt.Scale(nice=False)),
                    y=alt.Y("value:Q", title=None, scale=alt.Scale(domain=limits), axis=alt.Axis(tickCount=5)),
                )
            )
            at = {q: np.interp(q, part["q"], part[panel]) for q in (-2, 0, 2)}
            values = ", ".join(f"{value:.3g} at {q}" for q, value in at.items())
            words.append(f"{name}{' as released' if released else ''}: {values}")
        drawn.append(figure(title, alt.layer(*layers), "; ".join(words)))
    return drawn


def scores(histograms: Mapping[str, Mapping[str, list[float]]], title: str) -> Figure:
    """Histogram of the scores of true detections, as a share of them, by activation; logarithmic bins."""
    layers, words = [], []
    for activation, record in histograms.items():
        colour, _, dash = STYLES.get(activation, OTHER)
        edges, number = np.array(record["edges"]), np.array(record["true"])
        share = 100 * number / max(number.sum(), 1)
        steps = pd.DataFrame({"score": edges, "share": np.append(share, share[-1:]).round(2)})
        words.append(f"{activation}: {number.sum():,} true detections, most with scores about {_peak(edges, number)}")
        layers.append(
            alt.Chart(steps, width=285, height=150)
            .mark_line(color=colour, strokeDash=list(dash), strokeWidth=1.6, interpolate="step-after")
            .encode(
                x=alt.X(
                    "score:Q",
                    title="score",
                    scale=alt.Scale(type="log", nice=False),
                    axis=alt.Axis(values=[1e-4, 1e-3, 1e-2, 1e-1, 1], format="~g"),
                ),
                y=alt.Y("share:Q", title="% of true detections", axis=alt.Axis(tickCount=4)),
            )
        )
    return figure(title, alt.layer(*layers), "; ".join(words))


def _peak(edges: np.ndarray, number: np.ndarray) -> str:
    place = int(number.argmax())
    return f"{np.sqrt(edges[place] * edges[place + 1]):.2g}"


def calibration(records: Mapping[str, Mapping[str, Any]], title: str, least: int = 10) -> Figure:
    """Share of true detections against mean score; the diagonal is perfect. Bins below ``least`` are left out."""
    unit: dict[str, Any] = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(tickCount=5)}
    diagonal = alt.Chart(pd.DataFrame({"score": [0, 1], "true": [0, 1]}), width=200, height=200).mark_line(
        color="#020202", strokeWidth=1
    )
    x, y = alt.X("score:Q", title="mean score", **unit), alt.Y("true:Q", title="share that is true", **unit)
    layers, words = [diagonal.encode(x=x, y=y)], []
    for activation, record in records.items():
        colour, shape, dash = STYLES.get(activation, OTHER)
        frame = pd.DataFrame({key: record[key] for key in ("number", "score", "true")})
        frame = frame[frame["number"] >= least].astype(float).round(4)
        base = alt.Chart(frame).encode(x=x, y=y)
        layers.append(base.mark_line(color=colour, strokeDash=list(dash), strokeWidth=1.6))
        layers.append(base.mark_point(color=colour, shape=shape, filled=True, size=40, opacity=1))
        gap = record["error"]
        words.append(f"{activation} {'none' if gap is None else format(gap, '.3f')}")
    return figure(title, alt.layer(*layers), "Calibration error: " + ", ".join(words))


def error_costs(frame: pd.DataFrame, title: str) -> Figure:
    """AP50 x 100 that each type of error costs: columns kind, activation, cost; one row of marks per kind."""
    kinds = list(dict.fromkeys(frame["kind"]))
    layers, words = [], []
    for activation, part in frame.dropna(subset="cost").groupby("activation", sort=False):
        colour, shape, _ = STYLES.get(str(activation), OTHER)
        label = [f"{activation}, {row.kind}: {row.cost:.1f}" for row in part.itertuples()]
        layers.append(
            alt.Chart(part.assign(label=label), width=280, height=24 * len(kinds))
            .mark_point(color=colour, shape=shape, filled=True, size=70, opacity=0.9)
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
