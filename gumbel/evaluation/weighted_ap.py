"""AP under image weights: every official figure on many resampled data sets at once, from matches found once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.matches import Matches, Ranking, in_parallel
from gumbel.evaluation.metrics import METRICS, Categories, figures
from gumbel.evaluation.protocol import IOU_THRESHOLDS
from gumbel.jobs.terminal import track

LEVELS = 101  #: of recall; level k is k * _STEP to the last bit
_STEP = 0.01
_EPSILON = float(np.spacing(1))
#: Rows of weights that are worked on at a time.
_ROWS = 64

Figures = dict[str, np.ndarray]


def weighted_figures(matches: Matches, weights: np.ndarray) -> Figures:
    """Every figure under each row of ``weights`` (B, I), whole numbers from 0 to 65,535; (B,), NaN where undefined.

    Weights of one give the figures of ``lvis_ap.score``; weights 0, 1, 2, ... those of a data set in which
    each image is left out or repeated as often. Parts of the rows are worked on side by side, on every core that the
    process may use; each is small enough for what is computed of a category to stay in the core's cache.
    """
    parts = np.array_split(weights, -(-len(weights) // _ROWS))
    work = in_parallel(lambda part: figures(of_categories(matches, part, _mean)), parts)
    found = list(track(work, "resampling images", len(parts)))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def category_figures(matches: Matches) -> Figures:
    """What each figure of a group of categories is the mean of: its categories' values (K,), NaN where undefined."""
    once = np.ones((1, len(matches.images)))
    found = of_categories(matches, once, lambda values, thresholds, k: values[thresholds][:, k, 0].mean(axis=0))
    return {metric.name: metric.make(found) for metric in METRICS if metric.of_group}


def of_categories(matches: Matches, weights: np.ndarray, mean: Callable[..., np.ndarray]) -> Categories:
    """Precision and recall (T, K, B) of every category under each row of ``weights`` (B, I)."""
    columns = np.ascontiguousarray(weights.T, dtype=np.uint16)
    ends = np.arange(len(matches.frequencies) + 1)
    found = []
    for ranking in matches.rankings:
        bounds = [np.searchsorted(column, ends) for column in (ranking.category, ranking.object_category)]
        found.append(_average(bounds[0], bounds[1], ranking, columns, len(IOU_THRESHOLDS)))
    precision, recall = zip(*found, strict=True)
    return Categories(precision, recall, matches.frequencies, mean)


def _mean(values: np.ndarray, thresholds: slice, categories: Any) -> np.ndarray:
    """Mean over the chosen thresholds, then over the categories that are defined: (T, K, B) to (B,)."""
    per_category = values[thresholds][:, categories].mean(axis=0)
    defined = ~np.isnan(per_category)
    number = defined.sum(axis=0)
    total = np.where(defined, per_category, 0).sum(axis=0)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


@compiled
def _average(
    detections: np.ndarray, objects: np.ndarray, ranking: Ranking, weights: np.ndarray, thresholds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over 101 recall levels, and recall, (T, K, B) each; NaN where a replicate has no object.

    Detections ``detections[k]`` to ``detections[k + 1]`` and objects ``objects[k]`` to ``objects[k + 1]`` are those of
    category k; ``weights`` (I, B). Recall rises and the envelope of precision (its maximum to the right) is attained at
    true positives alone, so they are gone through from the last to the first. What counts at every threshold, most
    detections, is added up once for all thresholds.
    """
    image, true, counted, object_image = ranking.image, ranking.true, ranking.counted, ranking.object_image
    replicates = weights.shape[1]
    shape = (thresholds, len(objects) - 1, replicates)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    everywhere = np.uint16((1 << thresholds) - 1)
    total, ranked = np.zeros(replicates, np.int32), np.zeros(replicates, np.int32)
    found, more = np.zeros(replicates, np.int32), np.zeros(replicates, np.int32)
    number, best, area = np.zeros(replicates), np.zeros(replicates), np.zeros(replicates)
    levels, below, nothing = np.zeros(replicates), np.zeros(replicates), np.zeros(replicates)
    for k in range(len(objects) - 1):
        if objects[k] == objects[k + 1]:
            continue
        total[:] = 0
        for g in range(objects[k], objects[k + 1]):
            _add(total, weights[object_image[g]])
        number[:] = np.maximum(total, 1)
        first, last = detections[k], detections[k + 1]
        partial = first + np.flatnonzero((true[first:last] != 0) | (counted[first:last] != everywhere))
        shared = np.zeros((len(partial), replicates), np.int32)
        ranked[:] = 0
        place = 0
        for d in range(first, last):
            if counted[d] == everywhere:
                _add(ranked, weights[image[d]])
            if place < len(partial) and partial[place] == d:
                shared[place] = ranked
                place += 1
        for t in range(thresholds):
            bit = np.uint16(1 << t)
            found[:] = 0
            more[:] = 0
            hits = 0
            for d in partial:
                if counted[d] & bit and counted[d] != everywhere:
                    _add(more, weights[image[d]])
                if true[d] & bit:
                    _add(found, weights[image[d]])
                    hits += 1
            for b in range(replicates):
                recall[t, k, b] = found[b] / number[b] if total[b] > 0 else np.nan
            best[:] = 0.0
            area[:] = 0.0
            _reach(found, number, levels)
            for place in range(len(partial) - 1, -1, -1):
                d = partial[place]
                if true[d] & bit:
                    _envelop(found, shared[place], more, best)
                    _subtract(found, weights[image[d]])
                    hits -= 1
                    if hits:
                        _reach(found, number, below)
                    _integrate(best, levels, below if hits else nothing, area)
                    levels, below = below, levels
                if counted[d] & bit and counted[d] != everywhere:
                    _subtract(more, weights[image[d]])
            for b in range(replicates):
                precision[t, k, b] = area[b] / LEVELS if total[b] > 0 else np.nan
    return precision, recall


# Loops over replicates, each with few arrays: the compiler turns them into vector instructions


@compiled
def _add(total: np.ndarray, values: np.ndarray) -> None:
    for b in range(len(total)):
        total[b] += values[b]


@compiled
def _subtract(total: np.ndarray, values: np.ndarray) -> None:
    for b in range(len(total)):
        total[b] -= values[b]


@compiled
def _envelop(found: np.ndarray, shared: np.ndarray, more: np.ndarray, best: np.ndarray) -> None:
    for b in range(len(found)):
        best[b] = max(best[b], found[b] / (shared[b] + more[b] + _EPSILON))


@compiled
def _reach(found: np.ndarray, objects: np.ndarray, levels: np.ndarray) -> None:
    """How many recall levels are reached: the nearest one decides, all below are."""
    for b in range(len(found)):
        recall = found[b] / objects[b]
        nearest = np.rint(recall * (LEVELS - 1))
        levels[b] = nearest + 1.0 if nearest * _STEP <= recall else nearest


@compiled
def _integrate(best: np.ndarray, reached: np.ndarray, below: np.ndarray, area: np.ndarray) -> None:
    for b in range(len(best)):
        area[b] += best[b] * (reached[b] - below[b])
