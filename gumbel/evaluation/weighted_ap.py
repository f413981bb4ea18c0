"""AP under image weights: every official figure on many resampled data sets at once, from matches found once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.sparse import csr_array

from gumbel.evaluation.ground_truth import FREQUENCIES
from gumbel.evaluation.matches import ALL, Matches, Ranking
from gumbel.evaluation.protocol import IOU_THRESHOLDS, MAX_DETECTIONS

RECALLS = np.linspace(0, 1, 101)
_STEP = 0.01  #: level k is k * 0.01 to the last bit
_SIZES = ("", "s", "m", "l")
_EPSILON = np.spacing(1)
#: Rows of weights that are worked on at a time.
_ROWS = 128

Figures = dict[str, np.ndarray]


def weighted_figures(matches: Matches, weights: np.ndarray) -> Figures:
    """Every official figure under each row of ``weights`` (B, I), which are not negative; (B,), NaN where undefined.

    Weights of one give the figures of ``lvis_ap.evaluate``; weights 0, 1, 2, ... those of a data set in which
    each image is left out or repeated as often. Parts of the rows are worked on side by side, on every core that the
    process may use; each is small enough for what is computed of a category to stay in the core's cache.
    """
    parts = np.array_split(weights, -(-len(weights) // _ROWS))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = list(pool.map(lambda part: _figures(matches, part), parts))
    return {name: np.concatenate([figures[name] for figures in found]) for name in found[0]}


def _figures(matches: Matches, weights: np.ndarray) -> Figures:
    columns = np.ascontiguousarray(weights.T, dtype=np.float64)
    figures: Figures = {}
    for size, ranking in zip(_SIZES, matches.rankings, strict=True):
        precision, recall = _per_category(ranking, columns, len(matches.frequencies))
        figures[f"AP{size}"] = _mean(precision.mean(axis=0))
        if not size:
            figures |= {"AP50": _mean(precision[0]), "AP75": _mean(precision[5])}
            groups = {letter: precision[:, matches.frequencies == letter].mean(axis=0) for letter in FREQUENCIES}
            figures |= {f"AP{letter}": _mean(values) for letter, values in groups.items()}
            figures[f"AR@{MAX_DETECTIONS}"] = _mean(recall.mean(axis=0))
    return figures


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is defined."""
    defined = ~np.isnan(values)
    number = defined.sum(axis=0)
    total = np.where(defined, values, 0).sum(axis=0)
    return np.divide(total, number, out=np.full(values.shape[1:], np.nan), where=number > 0)


def _per_category(ranking: Ranking, weights: np.ndarray, categories: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall (T, K, B); NaN where a replicate has no object of the category."""
    shape = (len(IOU_THRESHOLDS), categories, weights.shape[1])
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    for category, detections, objects in _split(ranking, categories):
        total = weights[ranking.object_image[objects]].sum(axis=0)
        image, true, counted = (column[detections] for column in (ranking.image, ranking.true, ranking.counted))
        precision[:, category], recall[:, category] = _average_precision(image, true, counted, total, weights)
    return precision, recall


def _split(ranking: Ranking, categories: int) -> Iterator[tuple[int, slice, slice]]:
    """Detections and objects of every category that has objects."""
    bounds = np.arange(categories + 1)
    detections, objects = (np.searchsorted(column, bounds) for column in (ranking.category, ranking.object_category))
    for k in np.flatnonzero(np.diff(objects)).tolist():
        yield k, slice(detections[k], detections[k + 1]), slice(objects[k], objects[k + 1])


def _average_precision(
    image: np.ndarray, true: np.ndarray, counted: np.ndarray, total: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision over 101 recall levels, and recall, of detections (D,) by falling score; (T, B) each.

    Recall rises and the envelope of precision (its maximum to the right) is attained at true positives alone, so only
    they are kept. What counts at every threshold, most detections, is added up once for all thresholds.
    """
    undefined = np.where(total > 0, 0, np.nan)
    precision, recall = (np.tile(undefined, (len(IOU_THRESHOLDS), 1)) for _ in range(2))
    places = np.flatnonzero(true)
    always = counted == ALL
    shared = _ranked(image, always, places, weights)
    for threshold in range(len(IOU_THRESHOLDS)):
        hit, judged = (bits >> threshold & 1 == 1 for bits in (true, counted))
        own = np.flatnonzero(hit[places])
        if len(own):
            ranked = shared[own] + _ranked(image, judged & ~always, places[own], weights)
            found = np.cumsum(weights[image[places[own]]], axis=0)
            envelope = np.maximum.accumulate((found / (ranked + _EPSILON))[::-1], axis=0)[::-1]
            reached = _levels(found / np.maximum(total, 1))
            reached[1:] -= reached[:-1].copy()
            precision[threshold] += np.einsum("nb,nb->b", envelope, reached) / len(RECALLS)
            recall[threshold] += found[-1] / np.maximum(total, 1)
    return precision, recall


def _ranked(image: np.ndarray, chosen: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weight of the ``chosen`` (D,) detections that are ranked up to each of P places, (P, B)."""
    before = np.flatnonzero(chosen)
    place = np.searchsorted(places, before)  # the first one from here on; of the last detections there is none
    ends = np.searchsorted(place, np.arange(len(places) + 1))
    images = image[before[: ends[-1]]]
    steps = csr_array((np.ones(len(images)), images, ends), shape=(len(places), len(weights)))
    return np.cumsum(steps @ weights, axis=0)


def _levels(recall: np.ndarray) -> np.ndarray:
    """How many of the 101 recall levels each value reaches: the nearest level decides, all below are reached."""
    nearest = np.rint(recall * (len(RECALLS) - 1))
    return nearest + (nearest * _STEP <= recall)
