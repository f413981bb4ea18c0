"""Precision at fixed levels of recall, and the recall that is reached, of ranked true and false positives."""

import numpy as np

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.protocol import RECALLS

_EPSILON = float(np.spacing(1))


def precision_and_recall(
    category: np.ndarray, true: np.ndarray, counted: np.ndarray, objects: np.ndarray, thresholds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T, R, K) at the levels of recall, and recall (T, K), at T ``thresholds``; NaN without objects.

    Detections are by ``category`` (D,) and falling score, ``true`` and ``counted`` (D,) as in ``matches.Ranking``;
    ``objects`` (K,) are the numbers of objects.
    """
    return _fill(np.searchsorted(category, np.arange(len(objects) + 1)), true, counted, objects, RECALLS, thresholds)


@compiled
def _fill(
    bounds: np.ndarray, true: np.ndarray, counted: np.ndarray, objects: np.ndarray, recalls: np.ndarray, thresholds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Detections ``bounds[k]`` to ``bounds[k + 1]`` are those of category k.

    At a level of recall stands the highest precision from there on, which is that of a true positive.
    """
    precision = np.full((thresholds, len(recalls), len(objects)), np.nan)
    recall = np.full((thresholds, len(objects)), np.nan)
    for k in range(len(objects)):
        if objects[k] > 0:
            for t in range(thresholds):
                bit = np.uint16(1 << t)
                best = np.empty(bounds[k + 1] - bounds[k])
                hits, number = 0, 0
                for d in range(bounds[k], bounds[k + 1]):
                    if counted[d] & bit:
                        number += 1
                        if true[d] & bit:
                            hits += 1
                            best[hits - 1] = hits / (number + _EPSILON)
                for n in range(hits - 1, 0, -1):
                    best[n - 1] = max(best[n - 1], best[n])
                n = 0
                for r in range(len(recalls)):
                    while n < hits and (n + 1) / objects[k] < recalls[r]:
                        n += 1
                    precision[t, r, k] = best[n] if n < hits else 0.0
                recall[t, k] = hits / objects[k]
    return precision, recall
