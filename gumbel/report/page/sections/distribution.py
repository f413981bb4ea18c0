"""Where objects of the categories lie."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from gumbel.analysis import object_distribution
from gumbel.paths import ExperimentPaths
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import Figures, PageSection, Results
from gumbel.words import FREQUENCIES


@dataclass(frozen=True)
class Distribution(PageSection):
    """Heat maps and scatters, and means per frequency group; empty where it was not computed."""

    maps: list[Figure]
    scatters: list[Figure]
    rows: list[dict[str, Any]]
    grid: int = 0
    images: int = 0

    title = "Object distribution"

    @property
    def figures(self) -> Figures:
        return {"distribution": [*self.maps, *self.scatters]}


def make(results: Results) -> Distribution:
    path = ExperimentPaths(results.experiment.name).object_distribution
    if not path.exists():
        return Distribution([], [], [])
    found = object_distribution.load(path)
    groups = {name: found["frequency"] == letter for letter, name in FREQUENCIES.items()}
    frame = pd.DataFrame({key: found[key] for key in ("image_count", "expected", "frequency")})
    frame["frequency"] = frame["frequency"].map(FREQUENCIES)
    frame["imbalance"] = 1 - found["location_entropy"]
    return Distribution(
        [
            figures.heat_map(found["probability"][chosen].mean(axis=0), name)
            for name, chosen in groups.items()
            if chosen.any()
        ],
        [
            figures.expected_occurrence(frame, "Expected occurrence, by training images"),
            figures.location_imbalance(frame, "Class against location imbalance"),
        ],
        _rows(results.summary),
        grid=found["probability"].shape[-1],
        images=int(found["images"]),
    )


def _rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    rows = summary[summary["source"] == "object_distribution"]
    groups = rows.pivot_table(index="text", columns="metric", values="value", sort=False) if len(rows) else rows
    return [
        {"group": group} | {str(metric): value for metric, value in groups.loc[group].dropna().items()}
        for group in groups.index
    ]
