"""The paper's figure, redrawn."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from gumbel.experiment import matrix
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.styles import Palette
from gumbel.report.page.results import Figures, PageSection, Results
from gumbel.words import activation_name, architecture_name, detector_name


@dataclass(frozen=True)
class PaperFigure(PageSection):
    """Ours with the paper's as hollow marks in a reproduction, else in panels of its own.

    ``released``: activations whose published figures are of the released scoring.
    """

    panels: list[tuple[str, list[Figure]]]
    detectors: dict[str, str]
    released: list[str]
    palette: Palette

    title = "The paper’s figure"

    @property
    def legend(self) -> dict[str, str]:
        return {name: activation_name(name) for name in self.palette}

    @property
    def figures(self) -> Figures:
        return {"results": [figure for _, pair in self.panels for figure in pair]}


def make(results: Results) -> PaperFigure:
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
    palette = Palette(dict.fromkeys([*experiment.activations, *paper["activation"]]))
    order = list(dict.fromkeys([*paper["architecture"], *experiment.architectures]))
    names = experiment.architectures
    return PaperFigure(
        [(title, _pair(frame, names, order, palette)) for title, frame in groups.items() if len(frame)],
        {architecture_name(name): detector_name(name) for name in names},
        [name for name in experiment.activations if "released" in matrix.scorings(experiment, name)],
        palette,
    )


def _pair(frame: pd.DataFrame, own: list[str], order: list[str], palette: Palette) -> list[Figure]:
    keys = ["metric", "architecture", "activation", "published"]
    means = frame.groupby(keys, sort=False)[["value", "low", "high"]].mean().mul(100).reset_index()
    means["model"] = means["architecture"].map(architecture_name)
    models = [architecture_name(name) for name in order if name in {*own, *frame["architecture"]}]
    titles = {"AP": "Mask AP × 100", "APr": "Mask AP × 100 on rare categories, APr"}
    shown = {title: means[means["metric"] == metric] for metric, title in titles.items()}
    return [figures.results(part, title, models, palette) for title, part in shown.items()]
