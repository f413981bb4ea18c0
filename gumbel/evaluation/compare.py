"""Two files of detections on the same images: what changed, with intervals, and for which categories."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gumbel.evaluation.bootstrap import paired_difference, resample
from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.matches import find_matches
from gumbel.evaluation.predictions import Predictions, read_predictions


class Comparison(NamedTuple):
    """Second minus first, values unrounded in [0, 1].

    ``figures``: a row per figure with columns figure, first, second, difference, low, high (paired 95 % interval).
    ``categories``: a row per category that both score, largest gain first, with columns category_id, name,
    frequency, first, second, difference.
    """

    figures: pd.DataFrame
    categories: pd.DataFrame


def compare(
    annotations: Path, first: Path, second: Path, iou_type: str = "segm", replicates: int = 1000, seed: int = 0
) -> Comparison:
    """Compare two files of detections under the same draws of images.

    Raises ValueError for detections that cannot be scored against ``annotations``.
    """
    truth = read_ground_truth(annotations)
    found = [read_predictions(path) for path in (first, second)]
    sides = [resample(find_matches(truth, detections, iou_type), replicates, seed) for detections in found]
    rows = []
    for figure in sides[0].point:
        estimate, low, high = paired_difference(sides[0], sides[1], figure)
        values = [float(side.point[figure][0]) for side in sides]
        rows.append((figure, *values, estimate, low, high))
    figures = pd.DataFrame(rows, columns=["figure", "first", "second", "difference", "low", "high"])
    return Comparison(figures, _categories(truth, found, iou_type))


def _categories(truth: GroundTruth, found: list[Predictions], iou_type: str) -> pd.DataFrame:
    keys = ["category_id", "name", "frequency"]
    tables = [score(truth, detections, [iou_type])[1][[*keys, "AP"]] for detections in found]
    both = tables[0].merge(tables[1], on=keys, suffixes=("_first", "_second")).dropna()
    both = both.rename(columns={"AP_first": "first", "AP_second": "second"})
    both["difference"] = both["second"] - both["first"]
    return both.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def as_text(comparison: Comparison, shown: int = 10) -> str:
    """The comparison for a terminal, times 100: the figures, and the categories that gained and lost most."""
    numbers = comparison.figures.set_index("figure") * 100
    columns = ["name", "frequency", "first", "second", "difference"]
    categories = comparison.categories[columns].copy()
    categories[columns[2:]] *= 100
    gained = categories[categories["difference"] > 0].head(shown)
    lost = categories[categories["difference"] < 0].iloc[::-1].head(shown)
    parts = {"Figures": numbers, "Gained most": gained.set_index("name"), "Lost most": lost.set_index("name")}
    return "\n\n".join(
        f"{title}\n{table.to_string(float_format='{:.1f}'.format) if len(table) else '(none)'}"
        for title, table in parts.items()
    )
