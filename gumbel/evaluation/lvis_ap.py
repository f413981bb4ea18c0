"""LVIS AP and AR, equal to the official API's.

Protocol: Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019, and
https://github.com/lvis-dataset/lvis-api. ``protocol.select`` says which detections count, ``matches`` what each of them
takes; the figures are means over the precision and recall that follow.
"""

import gc
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gumbel.evaluation import official_backend
from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.matches import Found, Matches, find_matches
from gumbel.evaluation.metrics import Categories, as_record, figures, mean
from gumbel.evaluation.predictions import read_predictions
from gumbel.evaluation.protocol import IOU_THRESHOLDS, IOU_TYPES, PROTOCOLS, RECALLS, select
from gumbel.jobs.manifest import sha256

BACKENDS = ("compiled", "official")
_EPSILON = float(np.spacing(1))


class Scores(NamedTuple):
    """What an evaluation finds: the metrics record, columns over the categories per IoU type, and the matches."""

    metrics: dict[str, Any]
    categories: list[dict[str, Any]]
    found: Found

    @property
    def per_category(self) -> Any:
        """A frame of pandas with a row per IoU type and category."""
        import pandas as pd  # half a second, and few ask for the table

        frames = (pd.DataFrame(columns).astype({"image_count": "Int64"}) for columns in self.categories)
        return pd.concat(frames, ignore_index=True)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's cycle collector, which would walk millions of records without cycles: a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@collector_paused()
def score(
    annotations: Path,
    predictions: Path,
    iou_types: Iterable[str] = ("segm", "bbox"),
    *,
    images: Path | None = None,
    protocol: str = "lvis",
    backend: str = "compiled",
    overlaps: bool = False,
) -> Scores:
    """Score a file of detections against LVIS v1 annotations.

    ``iou_types`` are out of "segm", "bbox" and "boundary"; ``images`` lists the only ones to score, as
    ``read_ground_truth`` reads it; ``protocol`` is "lvis" or "fixed"; ``backend`` "compiled" or "official", the lvis
    package: slow, the reference. ``overlaps`` keeps what types of error are made of. The metrics are unrounded in
    [0, 1] and None where undefined; the table is in the order of LVIS ids. Raises ValueError for input that cannot be
    scored.
    """
    iou_types = tuple(iou_types)
    _check_options(iou_types, protocol, backend)
    kept = PROTOCOLS[protocol]
    truth, detections = read_ground_truth(annotations, images), read_predictions(predictions)
    _warn_of_others(annotations, detections.metadata)
    if overlaps:
        _check_probabilities(detections.score)
    chosen = select(truth, detections, protocol)
    found = find_matches(truth, detections, chosen, iou_types, overlaps)
    record: dict[str, Any] = {"schema": 1}
    categories = []
    for iou_type in iou_types:
        if backend == "official":
            precision, recall = official_backend.precision_and_recall(truth, detections, chosen.rows, iou_type)
        else:
            precision, recall = _by_area(found.matches[iou_type])
        if kept.per_image is None:
            recall = [np.full_like(values, np.nan) for values in recall]  # AR is that of so many detections an image
        record[iou_type] = official_figures(precision, recall, truth.frequencies)
        categories.append(_per_category(truth, precision[0], iou_type))
    record["protocol"] = {
        "name": protocol,
        "backend": backend,
        "max_detections": kept.per_image,
        "max_detections_per_category": kept.per_category,
        "iou_thresholds": IOU_THRESHOLDS.round(2).tolist(),
        "images": len(truth.images),
        "categories": len(truth.categories),
        "ground_truths": len(truth.annotations),
        "detections": chosen.counts | {"zero_area": found.zero_area},
        "predictions": detections.metadata,
    }
    return Scores(record, categories, found)


def _check_options(iou_types: tuple[str, ...], protocol: str, backend: str) -> None:
    known = IOU_TYPES if backend == "compiled" else ("segm", "bbox")
    if backend not in BACKENDS or protocol not in PROTOCOLS or not iou_types or not set(iou_types) <= set(known):
        raise ValueError(
            f"expected IoU types out of {known}, a protocol out of {tuple(PROTOCOLS)} and a backend out of {BACKENDS}, "
            f"found {iou_types}, {protocol!r} and {backend!r}"
        )


def _warn_of_others(annotations: Path, predicted: Mapping[str, str]) -> None:
    """Warn where predictions say that they were made for other annotations, whose image ids may be the same."""
    digest = predicted.get("annotations_sha256")
    if digest not in (None, sha256(annotations)):
        warnings.warn(
            f"the predictions were made for annotations of SHA-256 {digest}, {annotations} are others: check that they "
            "are of the same split",
            stacklevel=3,
        )


def _check_probabilities(score: np.ndarray) -> None:
    """AP needs the scores' order alone; a calibration error needs probabilities."""
    outside = score[(score < 0) | (score > 1)]
    if len(outside):
        raise ValueError(
            f"expected scores in [0, 1] for --errors, found {len(outside)} outside, the first {outside[0]:g}: turn "
            "percentages or logits into probabilities, or leave --errors out"
        )


def _by_area(matches: Matches) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Precision (T, R, K) and recall (T, K) of each range of areas."""
    found = []
    for category, _, true, counted, objects, _ in matches.rankings:
        number = np.bincount(objects, minlength=len(matches.frequencies))
        found.append(precision_and_recall(category, true, counted, number, len(IOU_THRESHOLDS)))
    return [precision for precision, _ in found], [recall for _, recall in found]


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


def official_figures(
    precision: Sequence[np.ndarray], recall: Sequence[np.ndarray], frequencies: np.ndarray
) -> dict[str, float | None]:
    """The figures from ``precision`` (T, R, K) and ``recall`` (T, K) of each range of areas.

    What is undefined is NaN, None on return. ``frequencies`` (K,) is r, c or f. The mean is that of the official API,
    over all numbers at once.
    """
    return as_record(figures(Categories(precision, recall, frequencies, _mean)))


def _mean(values: np.ndarray, thresholds: slice, categories: Any) -> float:
    return mean(values[thresholds][..., categories])


def _per_category(truth: GroundTruth, precision: np.ndarray, iou_type: str) -> dict[str, Any]:
    """AP and AP50 of each category (NaN without ground truth), with its counts in train and in the scored split."""
    return {
        "category_id": truth.category_ids,
        "name": [category["name"] for category in truth.categories],
        "frequency": truth.frequencies,
        "iou_type": iou_type,
        "AP": precision.mean(axis=(0, 1)),
        "AP50": precision[0].mean(axis=0),
        "image_count": [category.get("image_count") for category in truth.categories],
        "ground_truths": np.bincount(truth.objects.category, minlength=len(truth.categories)),
    }
