"""The LVIS protocol: its constants, the cap on detections, and the pass over the data image by image."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from hotcoco import mask as rle

from gumbel.evaluation.ground_truth import GroundTruth
from gumbel.evaluation.predictions import Predictions

MAX_DETECTIONS = 300
IMAGES = 200  # in a batch: some 50,000 detections, enough to keep all threads busy
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
IOU_TYPES = ("segm", "bbox")
SIZES = ("", "s", "m", "l")  #: of objects: all, small, medium, large


class Matches(NamedTuple):
    """What a backend returns: T IoU thresholds, R recall levels, K categories, A areas; -1 where undefined."""

    precision: np.ndarray  # (T, R, K, A)
    recall: np.ndarray  # (T, K, A)
    zero_area: int  # detections dropped for having no area


class Batch(NamedTuple):
    """Consecutive images with their annotations and their n detections of positive area."""

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    rows: np.ndarray  # (n,) row of each detection in the file
    areas: np.ndarray  # (n,) in pixels
    shapes: list[Any]  # n compressed RLEs, or n boxes (x, y, width, height in pixels)
    zero_area: int  # detections of these images that were left out


def cap(predictions: Predictions) -> np.ndarray:
    """Rows of the 300 highest scores of each image, by image id and falling score.

    Ties keep the order of the file, as in the official API.
    """
    order = np.lexsort((-predictions.score, predictions.image_id))
    image = predictions.image_id[order]
    rank = np.arange(len(order)) - np.searchsorted(image, image, side="left")
    return order[rank < MAX_DETECTIONS]


def batches(truth: GroundTruth, predictions: Predictions, rows: np.ndarray, iou_type: str) -> Iterator[Batch]:
    """Go through all images in the order of their ids, :data:`IMAGES` at a time; ``rows`` as :func:`cap` gives them.

    Areas are those of the masks, or for ``iou_type`` "bbox" of the boxes. Detections of zero area are left
    out, as the official API does.
    """
    image_id = predictions.image_id[rows]
    for start in range(0, len(truth.images), IMAGES):
        images = truth.images[start : start + IMAGES]
        first = np.searchsorted(image_id, images[0]["id"], side="left")
        last = np.searchsorted(image_id, images[-1]["id"], side="right")
        annotations = [entry for image in images for entry in truth.annotations.get(image["id"], ())]
        yield _batch(predictions, rows[first:last], iou_type, images, annotations)


def _batch(
    predictions: Predictions,
    rows: np.ndarray,
    iou_type: str,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
) -> Batch:
    forms, areas = shapes(predictions, rows, iou_type)
    keep = np.flatnonzero(areas > 0)
    return Batch(images, annotations, rows[keep], areas[keep], [forms[k] for k in keep.tolist()], len(rows) - len(keep))


def shapes(predictions: Predictions, rows: np.ndarray, iou_type: str) -> tuple[list[Any], np.ndarray]:
    """Masks (compressed RLEs) or boxes (x, y, width, height in pixels) of ``rows``, and their areas (n,)."""
    if iou_type == "segm":
        masks = predictions.masks(rows) if len(rows) else []
        return masks, np.asarray(rle.area(masks) if masks else [], dtype=np.float64)
    if predictions.box is None:
        raise ValueError("expected boxes, found detections without `bbox`: evaluate masks only")
    boxes = predictions.box[rows]
    return boxes.tolist(), boxes[:, 2] * boxes[:, 3]
