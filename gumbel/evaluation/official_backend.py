"""Precision and recall by the official API (https://github.com/lvis-dataset/lvis-api), in chunks of categories.

Categories do not interact, so chunks change nothing; whole, LVIS val takes more than 20 GB.
"""

import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask

from gumbel.evaluation.ground_truth import Annotation, GroundTruth
from gumbel.evaluation.predictions import Predictions, Shapes

#: Detections plus pairs of image and category in a chunk: about 2 GB.
_CHUNK = 1_000_000


def precision_and_recall(
    truth: GroundTruth, predictions: Predictions, rows: np.ndarray, iou_type: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Precision (T, R, K) and recall (T, K) of each range of areas, NaN without objects; ``rows`` are a selection's."""
    precisions, recalls = [], []
    category_id, shapes = predictions.category_id[rows], predictions.shapes
    for categories in _chunks(truth, category_id):
        ids = [category["id"] for category in categories]
        chosen = rows[np.isin(category_id, ids)]
        evaluation = _run(truth, categories, _records(predictions, shapes.take(chosen), chosen, iou_type), iou_type)
        precisions.append(evaluation.eval["precision"])
        recalls.append(evaluation.eval["recall"])
    precision, recall = np.concatenate(precisions, axis=2), np.concatenate(recalls, axis=1)
    by_area = (np.moveaxis(np.where(values > -1, values, np.nan), -1, 0) for values in (precision, recall))
    return list(next(by_area)), list(next(by_area))


def _chunks(truth: GroundTruth, category_id: np.ndarray) -> Iterator[list[dict[str, Any]]]:
    ids = truth.category_ids
    detections = np.bincount(np.searchsorted(ids, category_id), minlength=len(ids))
    chunk = np.cumsum(detections + len(truth.images)) // _CHUNK
    for number in np.unique(chunk):
        yield [truth.categories[k] for k in np.flatnonzero(chunk == number)]


def _records(predictions: Predictions, shapes: Shapes, rows: np.ndarray, iou_type: str) -> list[dict[str, Any]]:
    """Detections in the official results format; mask records without box, which would replace their area.

    The API drops those of zero area when it makes its index.
    """
    if shapes.box is not None and iou_type == "bbox":
        key, forms, areas = "bbox", shapes.box.tolist(), (shapes.box[:, 2] * shapes.box[:, 3]).tolist()
    else:
        key, forms = "segmentation", shapes.masks()
        areas = [float(mask.area(form)) for form in forms]
    columns = (predictions.image_id[rows], predictions.category_id[rows], predictions.score[rows])
    return [
        {"image_id": image, "category_id": category, "score": score, "area": area, "id": number, key: form}
        for number, (image, category, score, area, form) in enumerate(
            zip(*(column.tolist() for column in columns), areas, forms, strict=True), start=1
        )
    ]


def _run(truth: GroundTruth, categories: list[dict[str, Any]], records: list[dict[str, Any]], iou_type: str) -> Any:
    lvis = load_api()
    chosen = {category["id"] for category in categories}
    annotations = [_plain(entry) for entry in truth.annotations if entry.category_id in chosen]
    evaluation = lvis.LVISEval(
        _dataset(lvis.LVIS, truth, annotations, categories),
        _dataset(lvis.LVISResults, truth, records, categories),
        iou_type,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def _plain(annotation: Annotation) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(annotation))  # type: ignore[no-any-return]


def _dataset(kind: Any, truth: GroundTruth, annotations: list[dict[str, Any]], categories: list[dict[str, Any]]) -> Any:
    """An object of the API around data in memory: its constructors read files, copy, and refuse empty results."""
    dataset = kind.__new__(kind)
    dataset.logger = logging.getLogger("lvis")
    dataset.dataset = {"images": truth.images, "annotations": annotations, "categories": categories}
    dataset._create_index()
    return dataset


def load_api() -> Any:
    """Import the official API, which needs ``np.float``, and drawing libraries only for its pictures."""
    if not hasattr(np, "float"):
        vars(np)["float"] = float  # gone from NumPy since the release of lvis 0.5.3
    drawing = types.ModuleType("lvis.vis")
    vars(drawing)["LVISVis"] = None
    sys.modules.setdefault("lvis.vis", drawing)
    import lvis

    return lvis
