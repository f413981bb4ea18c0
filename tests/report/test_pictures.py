"""The pictures that are chosen show what they are chosen for, and their curves are those of the evaluation."""

import numpy as np
import pandas as pd

from gumbel.evaluation.matches import Ranking
from gumbel.report.page.sections.categories import differences, winners_and_losers
from gumbel.report.page.sections.pictures import _curve, _found, _largest


def frame(values: dict[tuple[str, str], tuple[float, float]]) -> pd.DataFrame:
    """AP with softmax and Gumbel by category (its first letter is its frequency) and architecture."""
    return pd.DataFrame(
        {
            "category_id": ord(name[0]) * 10 + int(name[1]), "name": name, "frequency": name[0], "image_count": 5,
            "architecture": model, "activation": activation, "AP": ap, "norm": 1.0,
        }
        for (name, model), pair in values.items()
        for activation, ap in zip(("softmax", "gumbel"), pair, strict=True)
    )  # fmt: skip


def test_a_model_in_which_nothing_differs_dilutes_no_other() -> None:
    table = differences(
        frame({("r1", "A"): (0.0, 0.0), ("r1", "B"): (0.1, 0.5), ("f1", "A"): (0.3, 0.2), ("c1", "A"): (0.2, 0.3)}),
        ("gumbel", "softmax"),
    )
    (_, gains), (_, losses) = winners_and_losers(table)
    assert [(row["name"], row["architecture"]) for row in gains] == [("r1", "B"), ("c1", "A")]
    assert [(row["name"], row["architecture"]) for row in losses] == [("f1", "A")]


def test_rare_categories_are_pictured_first_gains_before_losses() -> None:
    table = differences(
        frame(
            {
                ("f1", "A"): (0.0, 0.9),
                ("r1", "A"): (0.0, 0.1),
                ("r2", "A"): (0.0, 0.2),
                ("c1", "A"): (0.8, 0.1),
                ("r3", "A"): (0.2, 0.1),
                ("f2", "A"): (0.9, 0.0),
            }
        ),
        ("gumbel", "softmax"),
    )
    assert _largest(table)["name"].tolist() == ["r2", "r1", "r3", "c1"]


def test_precision_and_recall_follow_the_detections_of_the_category_alone() -> None:
    true = np.array([1, 0, 1, 1], dtype=np.uint16)
    ranking = Ranking(
        np.array([4, 4, 4, 7]),
        np.array([0, 1, 1, 2]),
        true,
        np.ones(4, np.uint16),
        np.array([4, 4, 4, 4, 7]),
        np.zeros(5),
    )
    recall, precision = _curve(ranking, 4)
    assert recall.tolist() == [0.25, 0.25, 0.5]
    assert precision.tolist() == [1.0, 0.5, 2 / 3]
    assert _found(ranking, 4, 3).tolist() == [1, 1, 0]
