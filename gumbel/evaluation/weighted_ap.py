"""AP under image weights: every official figure on many resampled data sets at once, from matches found once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.matches import Matches, Ranking
from gumbel.evaluation.metrics import Categories, figures
from gumbel.evaluation.protocol import IOU_THRESHOLDS

LEVELS = 101  #: of recall; level k is k * _STEP to the last bit
_STEP = 0.01
_EPSILON = float(np.spacing(1))
#: Rows of weights that are worked on at a time.
_ROWS = 64

Figures = dict[str, np.ndarray]


def weighted_figures(matches: Matches, weights: np.ndarray) -> Figures:
    """Every official figure under each row of ``weights`` (B, I), whole numbers from 0; (B,), NaN where undefined.

    Weights of one give the figures of ``lvis_ap.evaluate``; weights 0, 1, 2, ... those of a data set in which
    each image is left out or repeated as often. Parts of the rows are worked on side by side, on every core that the
    process may use; each is small enough for what is computed of a category to stay in the core's cache.
    """
    parts = np.array_split(weights, -(-len(weights) // _ROWS))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda part: _figures(matches, part), parts))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _figures(matches: Matches, weights: np.ndarray) -> Figures:
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    found = [_per_category(ranking, columns, len(matches.frequencies)) for ranking in matches.rankings]
    return figures(Categories([ap for ap, _ in found], [ar for _, ar in found], matches.frequencies, _mean))


def _mean(values: np.ndarray, thresholds: slice, categories: Any) -> np.ndarray:
    """Mean over the chosen thresholds, then over the categories that are defined: (T, K, B) to (B,)."""
    per_category = values[thresholds][:, categories].mean(axis=0)
    defined = ~np.isnan(per_category)
    number = defined.sum(axis=0)
    total = np.where(defined, per_category, 0).sum(axis=0)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def _per_category(ranking: Ranking, weights: np.ndarray, categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall (T, K, B); NaN where a replicate has no object of the category."""
    shape = (len(IOU_THRESHOLDS), categories, weights.shape[1])
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    for category, detections, objects in _split(ranking, categories):
        total = weights[ranking.object_image[objects]].sum(axis=0)
        image, true, counted = (column[detections] for column in (ranking.image, ranking.true, ranking.counted))
        _average_precision(image, true, counted, total, weights, precision[:, category], recall[:, category])
    return precision, recall


def _split(ranking: Ranking, categories: int) -> Iterator[tuple[int, slice, slice]]:
    """Detections and objects of every category that has objects."""
    bounds = np.arange(categories + 1)
    detections, objects = (np.searchsorted(column, bounds) for column in (ranking.category, ranking.object_category))
    for k in np.flatnonzero(np.diff(objects)).tolist():
        yield k, slice(detections[k], detections[k + 1]), slice(objects[k], objects[k + 1])


@compiled
def _average_precision(
    image: np.ndarray,
    true: np.ndarray,
    counted: np.ndarray,
    total: np.ndarray,
    weights: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
) -> None:
    """Average precision over 101 recall levels, and recall, (T, B) each, of detections (D,) by falling score.

    Recall rises and the envelope of precision (its maximum to the right) is attained at true positives alone, so only
    they are kept. What counts at every threshold, most detections, is added up once for all thresholds.
    """
    replicates = weights.shape[1]
    everywhere = np.uint16((1 << len(precision)) - 1)
    objects = np.where(total > 0, total, 1.0)
    partial = np.flatnonzero((true != 0) | (counted != everywhere))
    shared = np.zeros((len(partial), replicates))
    ranked = np.zeros(replicates)
    place = 0
    for d in range(len(image)):
        if counted[d] == everywhere:
            _add(ranked, weights[image[d]])
        if place < len(partial) and partial[place] == d:
            shared[place] = ranked
            place += 1
    precise, levels = np.zeros((len(partial), replicates)), np.zeros((len(partial) + 1, replicates))
    for t in range(len(precision)):
        bit = np.uint16(1 << t)
        found, more, number = np.zeros(replicates), np.zeros(replicates), 0
        for place in range(len(partial)):
            d = partial[place]
            if counted[d] & bit and counted[d] != everywhere:
                _add(more, weights[image[d]])
            if true[d] & bit:
                _add(found, weights[image[d]])
                _divide(found, shared[place], more, precise[number])
                number += 1
                _reach(found, objects, levels[number])
        best, area = np.zeros(replicates), np.zeros(replicates)
        for n in range(number, 0, -1):
            _integrate(precise[n - 1], levels[n - 1], levels[n], best, area)
        precision[t] = np.where(total > 0, area / LEVELS, np.nan)
        recall[t] = np.where(total > 0, found / objects, np.nan)


# Loops over replicates, each with few arrays: the compiler turns them into vector instructions


@compiled
def _add(total: np.ndarray, values: np.ndarray) -> None:
    for b in range(len(total)):
        total[b] += values[b]


@compiled
def _divide(found: np.ndarray, shared: np.ndarray, more: np.ndarray, precise: np.ndarray) -> None:
    for b in range(len(found)):
        precise[b] = found[b] / (shared[b] + more[b] + _EPSILON)


@compiled
def _reach(found: np.ndarray, objects: np.ndarray, levels: np.ndarray) -> None:
    """How many recall levels are reached: the nearest one decides, all below are."""
    for b in range(len(found)):
        recall = found[b] / objects[b]
        nearest = np.rint(recall * (LEVELS - 1))
        levels[b] = nearest + 1.0 if nearest * _STEP <= recall else nearest


@compiled
def _integrate(precise: np.ndarray, below: np.ndarray, reached: np.ndarray, best: np.ndarray, area: np.ndarray) -> None:
    for b in range(len(best)):
        best[b] = max(best[b], precise[b])
        area[b] += best[b] * (reached[b] - below[b])
