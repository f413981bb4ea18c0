"""The paper's figure, redrawn."""

import numpy as np
import pandas as pd

from gumbel.experiment import matrix
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.styles import Palette
from gumbel.report.page.results import PageSection, Results
from gumbel.words import activation_name, architecture_name


class PaperFigure(PageSection):
    """Ours in a panel for each scoring; the paper's as hollow marks in a reproduction, else in a panel of their own.

    ``released``: activations that are also scored as the released code scores them, which is what the paper publishes.
    """

    title = "The paper’s figure"

    def __init__(self, results: Results):
        experiment, summary = results.experiment, results.summary
        scored = summary[(summary["iou_type"] == "segm") & summary["value"].notna()]
        paper = scored[scored["source"] == "paper"].assign(kind="paper")
        self.released = [name for name in experiment.activations if "released" in matrix.scorings(experiment, name)]
        ours = {"as trained": _ours(results, scored, [])}
        if self.released:
            named = " and ".join(activation_name(name) for name in self.released)
            ours[f"{named} scored with softmax, as in the released code"] = _ours(results, scored, self.released)
        groups = {f"This experiment, {how}": frame for how, frame in ours.items()}
        if experiment.reproduction:
            last = list(groups)[-1]
            groups[f"{last}; hollow: the paper"] = pd.concat([groups.pop(last), paper])
        else:
            groups["The paper, on LVIS v1 val"] = paper
        names = experiment.architectures
        self.palette = Palette(dict.fromkeys([*experiment.activations, *paper["activation"]]))
        self.legend = {name: activation_name(name) for name in self.palette}
        order = list(dict.fromkeys([*paper["architecture"], *names]))
        self.panels = {title: _pair(frame, names, order, self.palette) for title, frame in groups.items() if len(frame)}
        self.figures = {"results": [figure for pair in self.panels.values() for figure in pair]}


def _ours(results: Results, scored: pd.DataFrame, released: list[str]) -> pd.DataFrame:
    """Means with their bounds, and seeds where there are several; ``released`` activations under that scoring."""
    scoring = scored["activation"].isin(released).map({True: "released", False: "matched"})
    own = scored[(scored["split"] == results.split) & (scored["scoring"] == scoring)]
    seeds = own[own["source"] == "evaluation"].assign(low=np.nan, high=np.nan)
    bounds = own[own["source"] == "mean"].assign(value=np.nan)  # of the mean over seeds
    means = pd.concat([seeds, bounds]).assign(kind="mean")
    return pd.concat([means, seeds.assign(kind="seed")]) if results.several_seeds else means


def _pair(frame: pd.DataFrame, own: list[str], order: list[str], palette: Palette) -> list[Figure]:
    keys = ["metric", "architecture", "activation", "kind"]
    # every seed is a mark of its own
    number = frame["seed"].where(frame["kind"] == "seed", -1).fillna(-1).astype(int)
    means = frame.groupby([*keys, number], sort=False)[["value", "low", "high"]].mean().mul(100).reset_index()
    means["model"] = means["architecture"].map(architecture_name)
    models = [architecture_name(name) for name in order if name in {*own, *frame["architecture"]}]
    titles = {"AP": "Mask AP × 100", "APr": "Mask AP × 100 on rare categories, APr"}
    shown = {title: means[means["metric"] == metric] for metric, title in titles.items()}
    return [figures.results(part, title, models, palette) for title, part in shown.items()]
