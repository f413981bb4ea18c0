"""LVIS AP and AR, equal to the official API's.

Protocol: Gupta et al., "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019, and
https://github.com/lvis-dataset/lvis-api. At most 300 detections an image are kept, by score, ties in the
order of the file; then detections of zero area are dropped, as the official API does. What is left goes to
one of two backends, which return the same tensors; the figures are means over them.
"""

import gc
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gumbel.evaluation import hotcoco_backend, official_backend
from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.metrics import Categories, figures
from gumbel.evaluation.predictions import Predictions, read_predictions
from gumbel.evaluation.protocol import IOU_THRESHOLDS, IOU_TYPES, MAX_DETECTIONS, cap

BACKENDS = {"hotcoco": hotcoco_backend.match, "official": official_backend.match}


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
def evaluate(
    annotations: Path,
    predictions: Path,
    iou_types: Iterable[str] = IOU_TYPES,
    backend: str = "hotcoco",
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score a file of detections against LVIS v1 annotations.

    ``backend`` is "hotcoco" (Rust, fast) or "official" (the lvis package: slow, the reference). Returns
    the metrics record, values unrounded in [0, 1] and None where undefined, and a table with one row per
    IoU type and category, in the order of LVIS ids. Raises ValueError for input that cannot be scored.
    """
    iou_types = tuple(iou_types)
    _check_options(iou_types, backend)
    return score(read_ground_truth(annotations), read_predictions(predictions), iou_types, backend)


def _check_options(iou_types: tuple[str, ...], backend: str) -> None:
    if backend not in BACKENDS or not iou_types or not set(iou_types) <= set(IOU_TYPES):
        raise ValueError(
            f"expected IoU types out of {IOU_TYPES} and a backend out of {tuple(BACKENDS)}, "
            f"found {iou_types} and {backend!r}"
        )


def score(
    truth: GroundTruth, detections: Predictions, iou_types: Iterable[str], backend: str = "hotcoco"
) -> tuple[dict[str, Any], pd.DataFrame]:
    """What :func:`evaluate` returns, of files that are read already."""
    rows, counts = select(truth, detections)
    record: dict[str, Any] = {"schema": 1}
    tables, zero_area = [], {}
    for iou_type in iou_types:
        precision, recall, zero_area[iou_type] = BACKENDS[backend](truth, detections, rows, iou_type)
        record[iou_type] = official_figures(precision, recall, truth.frequencies)
        tables.append(per_category(truth, precision, iou_type))
    record["protocol"] = _protocol(truth, detections, backend, counts | {"zero_area": zero_area})
    return record, pd.concat(tables, ignore_index=True)


def select(truth: GroundTruth, predictions: Predictions) -> tuple[np.ndarray, dict[str, int]]:
    """Rows that are scored, by image id and falling score, and how many detections fell out at each step.

    First the cap of 300 an image, then unknown categories, then those that the federated protocol does not
    judge. Raises ValueError for predictions that cannot be scored against ``truth``.
    """
    check_predictions(truth, predictions)
    capped = cap(predictions)
    known = capped[np.isin(predictions.category_id[capped], truth.category_ids)]
    rows = known[judged(truth, predictions, known)]
    return rows, {
        "read": len(predictions),
        "over_the_cap": len(predictions) - len(capped),
        "unknown_category": len(capped) - len(known),
        "not_judged": len(known) - len(rows),
    }


def check_predictions(truth: GroundTruth, predictions: Predictions) -> None:
    """Raise ValueError for unknown images or masks of another size; warn of unknown categories.

    Detections of unknown categories are never scored, as in the official API.
    """
    ids = np.array([image["id"] for image in truth.images], dtype=np.int64)
    strange = ~np.isin(predictions.image_id, ids)
    if strange.any():
        raise ValueError(
            f"expected detections in images of the annotations, found {strange.sum()} in others, first in image "
            f"{predictions.image_id[strange.argmax()]}: score them against the annotations they were predicted for"
        )
    if predictions.mask_size is not None:
        sizes = np.array([(image["height"], image["width"]) for image in truth.images]).reshape(-1, 2)
        wrong = (predictions.mask_size != sizes[np.searchsorted(ids, predictions.image_id)]).any(axis=1)
        if wrong.any():
            raise ValueError(
                f"expected masks of their image's height and width, found {wrong.sum()} of another size, first in row "
                f"{wrong.argmax()}: paste the masks into the whole image before encoding them"
            )
    foreign = ~np.isin(predictions.category_id, truth.category_ids)
    if foreign.any():
        warnings.warn(
            f"{foreign.sum()} detections are not scored, their categories are not in the annotations, first "
            f"{predictions.category_id[foreign.argmax()]}: check that labels were turned into LVIS ids",
            stacklevel=2,
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


def judged(truth: GroundTruth, predictions: Predictions, rows: np.ndarray) -> np.ndarray:
    """Which of ``rows`` the federated protocol judges: the category is annotated in the image, or listed as absent."""
    span = int(truth.category_ids.max(initial=0)) + 1
    pairs = [image["id"] * span + category for image in truth.images for category in image["neg_category_ids"]]
    pairs += [
        entry["image_id"] * span + entry["category_id"] for group in truth.annotations.values() for entry in group
    ]
    return np.isin(predictions.image_id[rows] * span + predictions.category_id[rows], np.array(pairs, dtype=np.int64))


def _protocol(truth: GroundTruth, predictions: Predictions, backend: str, counts: dict[str, Any]) -> dict[str, Any]:
    return {
        "backend": backend,
        "max_detections": MAX_DETECTIONS,
        "iou_thresholds": IOU_THRESHOLDS.round(2).tolist(),
        "images": len(truth.images),
        "categories": len(truth.categories),
        "ground_truths": int(truth.counts().sum()),
        "detections": counts,
        "predictions": predictions.metadata,
    }
