"""Precision at fixed levels of recall, and the recall that is reached, of ranked true and false positives."""

import numpy as np

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.matches import Matches
from gumbel.evaluation.protocol import IOU_THRESHOLDS, RECALLS

_EPSILON = float(np.spacing(1))


def precision_and_recall(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """The official API's tensors: precision (T, R, K, A) and recall (T, K, A), -1 where there is no object."""
    shape = len(IOU_THRESHOLDS), len(matches.frequencies), len(matches.rankings)
    precision, recall = np.full((shape[0], len(RECALLS), *shape[1:]), -1.0), np.full(shape, -1.0)
    for area, ranking in enumerate(matches.rankings):
        bounds = np.searchsorted(ranking.category, np.arange(shape[1] + 1))
        objects = np.bincount(ranking.object_category, minlength=shape[1])
        fill(bounds, ranking.true, ranking.counted, objects, RECALLS, precision, recall, area)
    return precision, recall


@compiled
def fill(
    bounds: np.ndarray,
    true: np.ndarray,
    counted: np.ndarray,
    objects: np.ndarray,
    recalls: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
    area: int,
) -> None:
    """Fill ``precision`` (T, R, K, A) at ``recalls`` (R,) and ``recall`` (T, K, A) for one ``area``.

    Categories without ``objects`` (K,) are left as they are.

    Detections ``bounds[k]`` to ``bounds[k + 1]`` are those of category k by falling score, ``true`` and ``counted`` as
    in ``Ranking``. At a level of recall stands the highest precision from there on, which is that of a true positive.
    """
    for k in range(len(objects)):
        if objects[k] > 0:
            for t in range(len(recall)):
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
                    precision[t, r, k, area] = best[n] if n < hits else 0.0
                recall[t, k, area] = hits / objects[k]
