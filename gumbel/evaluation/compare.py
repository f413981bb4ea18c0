"""Two files of detections on the same images: what changed, with intervals, and for which categories."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from gumbel.evaluation.bootstrap import paired_difference, resample
from gumbel.evaluation.lvis_ap import score


class Differences(NamedTuple):
    """Second minus first, values unrounded in [0, 1].

    ``figures``: a row per figure with columns figure, first, second, difference, low, high (paired 95 % interval).
    ``categories``: a row per category that both score, largest gain first, with columns category_id, name,
    frequency, first, second, difference.
    """

    figures: pd.DataFrame
    categories: pd.DataFrame


def compare(
    annotations: Path, first: Path, second: Path, iou_type: str = "segm", replicates: int = 10_000, seed: int = 0
) -> Differences:
    """Compare two files of detections under the same draws of images.

    Raises ValueError for detections that cannot be scored against ``annotations``.
    """
    scores = [score(annotations, path, [iou_type]) for path in (first, second)]
    sides = [resample(one.found.matches[iou_type], replicates, seed) for one in scores]
    rows = []
    for figure in sides[0].point:
        estimate, low, high = paired_difference(sides[:1], sides[1:], figure)
        values = [float(side.point[figure][0]) for side in sides]
        rows.append((figure, *values, estimate, low, high))
    figures = pd.DataFrame(rows, columns=["figure", "first", "second", "difference", "low", "high"])
    return Differences(figures, _categories(*(one.per_category for one in scores)))


def _categories(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    keys = ["category_id", "name", "frequency"]
    tables = [table[[*keys, "AP"]] for table in (first, second)]
    both = tables[0].merge(tables[1], on=keys, suffixes=("_first", "_second")).dropna()
    both = both.rename(columns={"AP_first": "first", "AP_second": "second"})
    both["difference"] = both["second"] - both["first"]
    return both.sort_values("difference", ascending=False, kind="stable", ignore_index=True)


def as_text(differences: Differences, shown: int = 10) -> str:
    """The comparison for a terminal, times 100: the figures, and the categories that gained and lost most."""
    numbers = differences.figures.set_index("figure") * 100
    columns = ["name", "frequency", "first", "second", "difference"]
    categories = differences.categories[columns].copy()
    categories[columns[2:]] *= 100
    gained = categories[categories["difference"] > 0].head(shown)
    lost = categories[categories["difference"] < 0].iloc[::-1].head(shown)
    parts = {"Figures": numbers, "Gained most": gained.set_index("name"), "Lost most": lost.set_index("name")}
    return "\n\n".join(
        f"{title}\n{table.to_string(float_format='{:.1f}'.format) if len(table) else '(none)'}"
        for title, table in parts.items()
    )
