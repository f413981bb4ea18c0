"""LVIS AP and AR, equal to the official API's.

Protocol: Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019, and
https://github.com/lvis-dataset/lvis-api. ``protocol.select`` says which detections count, ``matches`` what each of them
takes; the figures are means over the precision and recall that follow.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gumbel.evaluation import official_backend
from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.matches import Found, find_matches
from gumbel.evaluation.metrics import Categories, figures
from gumbel.evaluation.precision import precision_and_recall
from gumbel.evaluation.predictions import Predictions, scan_predictions
from gumbel.evaluation.protocol import IOU_THRESHOLDS, IOU_TYPES, PROTOCOLS, select

BACKENDS = ("compiled", "official")


class Scores(NamedTuple):
    """What an evaluation finds: the metrics record, a row per IoU type and category, and the matches behind them."""

    metrics: dict[str, Any]
    per_category: pd.DataFrame
    found: Found


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


def evaluate(
    annotations: Path, predictions: Path, iou_types: Iterable[str] = ("segm", "bbox"), **options: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Metrics and table of :func:`score`, whose ``options`` it takes."""
    return score(annotations, predictions, iou_types, **options)[:2]


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
    truth, detections = read_ground_truth(annotations, images), scan_predictions(predictions)
    chosen = select(truth, detections, protocol)
    found = find_matches(truth, detections, chosen, iou_types, overlaps)
    record: dict[str, Any] = {"schema": 1}
    tables = []
    for iou_type in iou_types:
        if backend == "official":
            precision, recall = official_backend.precision_and_recall(truth, detections, chosen.rows, iou_type)
        else:
            precision, recall = precision_and_recall(found.matches[iou_type])
        if PROTOCOLS[protocol].per_image is None:
            recall = np.full_like(recall, -1)  # AR is that of so many detections an image
        record[iou_type] = official_figures(precision, recall, truth.frequencies)
        tables.append(per_category(truth, precision, iou_type))
    record["protocol"] = _protocol(truth, detections, protocol, backend, chosen.counts | {"zero_area": found.zero_area})
    return Scores(record, pd.concat(tables, ignore_index=True), found)


def _check_options(iou_types: tuple[str, ...], protocol: str, backend: str) -> None:
    known = IOU_TYPES if backend == "compiled" else ("segm", "bbox")
    if backend not in BACKENDS or protocol not in PROTOCOLS or not iou_types or not set(iou_types) <= set(known):
        raise ValueError(
            f"expected IoU types out of {known}, a protocol out of {tuple(PROTOCOLS)} and a backend out of {BACKENDS}, "
            f"found {iou_types}, {protocol!r} and {backend!r}"
        )


def official_figures(precision: np.ndarray, recall: np.ndarray, frequencies: np.ndarray) -> dict[str, float | None]:
    """The figures from ``precision`` (T, R, K, A) and ``recall`` (T, K, A); -1 marks what is undefined, None on return.

    ``frequencies`` (K,) is r, c or f. The mean is that of the official API, over all numbers at once.
    """
    areas = range(precision.shape[-1])
    found = figures(Categories([precision[..., a] for a in areas], [recall[..., a] for a in areas], frequencies, _mean))
    return {name: None if np.isnan(value) else float(value) for name, value in found.items()}


def _mean(values: np.ndarray, thresholds: slice, categories: Any) -> float:
    chosen = values[thresholds][..., categories]
    defined = chosen[chosen > -1]
    return float(defined.mean()) if defined.size else float("nan")


def per_category(truth: GroundTruth, precision: np.ndarray, iou_type: str) -> pd.DataFrame:
    """AP and AP50 of each category (NaN without ground truth), with its counts in train and in the scored split."""
    ap = precision[..., 0].mean(axis=(0, 1))
    ap50 = precision[0, :, :, 0].mean(axis=0)
    defined = ap50 > -1
    return pd.DataFrame(
        {
            "category_id": truth.category_ids,
            "name": [category["name"] for category in truth.categories],
            "frequency": truth.frequencies,
            "iou_type": iou_type,
            "AP": np.where(defined, ap, np.nan),
            "AP50": np.where(defined, ap50, np.nan),
            "image_count": pd.array([category.get("image_count") for category in truth.categories], dtype="Int64"),
            "ground_truths": truth.counts(),
        }
    )


def _protocol(
    truth: GroundTruth, predictions: Predictions, protocol: str, backend: str, counts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": protocol,
        "backend": backend,
        "max_detections": PROTOCOLS[protocol].per_image,
        "max_detections_per_category": PROTOCOLS[protocol].per_category,
        "iou_thresholds": IOU_THRESHOLDS.round(2).tolist(),
        "images": len(truth.images),
        "categories": len(truth.categories),
        "ground_truths": len(truth.annotations),
        "detections": counts,
        "predictions": predictions.metadata,
    }
