"""Weight norms of the classifier."""

from typing import NamedTuple

import pandas as pd

from gumbel.report.drawing import figures
from gumbel.report.page.results import PageSection, Results
from gumbel.words import STATISTICS, architecture_name, fixed


class NormRow(NamedTuple):
    """Values per statistic and activation, seeds averaged, each with the bounds of its interval."""

    architecture: str
    stage: str
    values: list[list[tuple[str, str]]]


class Norms(PageSection):
    """Norms of every architecture in both orders: of the last stage, and of the stages before it."""

    title = "Weight norms"
    statistics = STATISTICS

    def __init__(self, results: Results):
        self.by_images, self.by_size, self.earlier = [], [], []
        categories = 0
        for architecture in results.experiment.architectures:
            table = results.stacked(architecture, "weight_norms")
            stages = sorted(table["stage"].unique()) if len(table) else []
            for stage in stages:
                part = table[table["stage"] == stage]
                categories = max(categories, part["category_id"].nunique())
                title = architecture_name(architecture)
                title += f", stage {stage + 1} of {len(stages)}" if len(stages) > 1 else ""
                drawn = [draw(part, title, results.palette) for draw in (figures.weight_norms, figures.sorted_norms)]
                if stage == stages[-1]:
                    self.by_images.append(drawn[0])
                    self.by_size.append(drawn[1])
                else:
                    self.earlier += drawn
        self.figures = {f"norms {name}": getattr(self, name) for name in ("by_images", "by_size", "earlier")}
        self.binned = categories > figures.BINS
        self.rows = _rows(results)


def _rows(results: Results) -> list[NormRow]:
    rows: pd.DataFrame = results.summary[results.summary["source"] == "weight_norms"]
    means = rows.groupby(["architecture", "text", "metric", "activation"], sort=False)["value"].mean().to_dict()
    stages = rows.groupby("architecture", sort=False)["text"].unique()
    intervals = results.summary[results.summary["source"] == "norm_mean"].dropna(subset=["low", "high"])
    keys = intervals[["architecture", "text", "metric", "activation"]].itertuples(index=False, name=None)
    bounds = dict(zip(keys, intervals[["low", "high"]].to_numpy(), strict=True))

    def value(*key: str) -> tuple[str, str]:
        return fixed(means.get(key), ".2f"), " to ".join(fixed(bound, ".2f") for bound in bounds.get(key, ()))

    return [
        NormRow(
            architecture,
            f"stage {int(stage) + 1}" if len(stages[architecture]) > 1 else "",
            [[value(architecture, stage, s, name) for name in results.experiment.activations] for s in STATISTICS],
        )
        for architecture in stages.index
        for stage in stages[architecture]
    ]
