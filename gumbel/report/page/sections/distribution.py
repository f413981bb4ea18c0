"""Where objects of the categories lie."""

from typing import Any

import pandas as pd

from gumbel.analysis import object_distribution
from gumbel.paths import ExperimentPaths
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import PageSection, Results
from gumbel.words import FREQUENCIES


class Distribution(PageSection):
    """Heat maps and scatters, and means per frequency group; empty where it was not computed."""

    title = "Object distribution"

    def __init__(self, results: Results):
        self.maps: list[Figure] = []
        self.scatters: list[Figure] = []
        path = ExperimentPaths(results.experiment.name).object_distribution
        if not path.exists():
            return
        found = object_distribution.load(path)
        for letter, name in FREQUENCIES.items():
            if (chosen := found["frequency"] == letter).any():
                self.maps.append(figures.heat_map(found["probability"][chosen].mean(axis=0), name))
        frame = pd.DataFrame({key: found[key] for key in ("image_count", "expected", "frequency")})
        frame["frequency"] = frame["frequency"].map(FREQUENCIES)
        frame["imbalance"] = 1 - found["location_entropy"]
        self.scatters = [
            figures.expected_occurrence(frame, "Expected occurrence, by training images"),
            figures.location_imbalance(frame, "Class against location imbalance"),
        ]
        self.figures = {"distribution": [*self.maps, *self.scatters]}
        self.rows = _rows(results.summary)
        self.grid, self.images = found["probability"].shape[-1], int(found["images"])


def _rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    rows = summary[summary["source"] == "object_distribution"]
    groups = rows.pivot_table(index="text", columns="metric", values="value", sort=False) if len(rows) else rows
    return [
        {"group": group} | {str(metric): value for metric, value in groups.loc[group].dropna().items()}
        for group in groups.index
    ]
