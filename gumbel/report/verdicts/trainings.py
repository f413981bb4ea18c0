"""What other trainings would do to a figure: the least number of them, and their spread as others published it."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from gumbel.paths import CONFIGS

SPREADS = CONFIGS / "paper" / "spreads.csv"
#: Trainings of each side below which a difference has no verdict.
ENOUGH = 3
LEVEL = 0.95
_NUMBERS = {1: "one training", 2: "two trainings"}


class Spread(NamedTuple):
    """Standard deviation of a figure over repeated ``trainings``, in points."""

    deviation: float
    trainings: int
    words: str = ""

    def reach(self, *sizes: int) -> float:
        """Half-width of the 95 % interval of a difference of means over so many trainings each."""
        quantile = stdtrit(self.trainings - 1, (1 + LEVEL) / 2)
        return float(quantile * self.deviation * np.sqrt(sum(1 / size for size in sizes)))


def own(values: Sequence[float]) -> Spread:
    """The spread of two or more trainings' ``values``, in points."""
    return Spread(float(np.std(values, ddof=1)), len(values))


@cache
def published() -> dict[tuple[str, str], Spread]:
    """Spreads on the paper's data, by kind of overlap and metric."""
    row: Any
    found = {}
    for row in pd.read_csv(SPREADS).itertuples():
        words = f"±{row.deviation:.1f} points over {row.trainings} trainings of {row.model}"
        found[row.iou_type, row.metric] = Spread(row.deviation, row.trainings, words)
    return found


def number(trainings: int) -> str:
    """``one training each``."""
    return f"{_NUMBERS.get(trainings, f'{trainings} trainings')} each"
