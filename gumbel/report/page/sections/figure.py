"""The paper's figure, redrawn."""

import numpy as np
import pandas as pd

from gumbel.experiment import matrix
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.styles import Palette
from gumbel.report.page.results import PageSection, Results
from gumbel.words import activation_name, architecture_name, detector_name


class PaperFigure(PageSection):
    """Ours with the paper's as hollow marks in a reproduction, else in panels of its own.

    ``released``: activations whose published figures are of the released scoring.
    """

    title = "The paper’s figure"

    def __init__(self, results: Results):
        experiment, summary = results.experiment, results.summary
        scored = summary[(summary["iou_type"] == "segm") & summary["value"].notna()]
        own = scored[(scored["split"] == results.split) & (scored["scoring"] == "matched")]
        # bounds are those of the mean over seeds
        ours = pd.concat(
            [
                own[own["source"] == "evaluation"].assign(low=np.nan, high=np.nan),
                own[own["source"] == "mean"].assign(value=np.nan),
            ]
        ).assign(published=False)
        paper = scored[scored["source"] == "paper"].assign(published=True)
        if experiment.reproduction:
            groups = {"This experiment; the paper’s as hollow marks": pd.concat([ours, paper])}
        else:
            groups = {"This experiment": ours, "The paper, on LVIS v1 val": paper}
        names = experiment.architectures
        self.palette = Palette(dict.fromkeys([*experiment.activations, *paper["activation"]]))
        self.legend = {name: activation_name(name) for name in self.palette}
        self.detectors = {architecture_name(name): detector_name(name) for name in names}
        self.released = [name for name in experiment.activations if "released" in matrix.scorings(experiment, name)]
        order = list(dict.fromkeys([*paper["architecture"], *names]))
        self.panels = {title: _pair(frame, names, order, self.palette) for title, frame in groups.items() if len(frame)}
        self.figures = {"results": [figure for pair in self.panels.values() for figure in pair]}


def _pair(frame: pd.DataFrame, own: list[str], order: list[str], palette: Palette) -> list[Figure]:
    keys = ["metric", "architecture", "activation", "published"]
    means = frame.groupby(keys, sort=False)[["value", "low", "high"]].mean().mul(100).reset_index()
    means["model"] = means["architecture"].map(architecture_name)
    models = [architecture_name(name) for name in order if name in {*own, *frame["architecture"]}]
    titles = {"AP": "Mask AP × 100", "APr": "Mask AP × 100 on rare categories, APr"}
    shown = {title: means[means["metric"] == metric] for metric, title in titles.items()}
    return [figures.results(part, title, models, palette) for title, part in shown.items()]
