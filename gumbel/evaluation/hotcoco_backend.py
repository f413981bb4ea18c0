"""LVIS matching by hotcoco (Rust, https://pypi.org/project/hotcoco), a batch of images at a time."""

from typing import Any

import numpy as np
from hotcoco import StreamingEval

from gumbel.evaluation.ground_truth import GroundTruth
from gumbel.evaluation.predictions import Predictions
from gumbel.evaluation.protocol import Batch, Matches, batches


def match(truth: GroundTruth, predictions: Predictions, rows: np.ndarray, iou_type: str) -> Matches:
    """Precision and recall of the detections in ``rows``, which are capped and sorted by image."""
    evaluator = StreamingEval(truth.categories, iou_type, lvis_style=True)
    zero_area = 0
    for batch in batches(truth, predictions, rows, iou_type):
        masks = batch.shapes if iou_type == "segm" else None
        evaluator.update(batch.images, batch.annotations, _columns(predictions, batch, iou_type), segmentation=masks)
        zero_area += batch.zero_area
    result = evaluator.finalize()
    result.accumulate()
    tensors: Any = result.eval
    return Matches(tensors["precision"][..., 0], tensors["recall"][..., 0], zero_area)


def _columns(predictions: Predictions, batch: Batch, iou_type: str) -> np.ndarray:
    """Detections as hotcoco's array (n, 7): image id, x, y, width, height, score, category id.

    hotcoco takes a detection's area from its box even for masks, so a mask gets a box of its area.
    """
    zero, one = np.zeros(len(batch.rows)), np.ones(len(batch.rows))
    box = [zero, zero, batch.areas, one] if iou_type == "segm" else np.reshape(batch.shapes, (-1, 4)).T
    image, category, score = (
        column[batch.rows] for column in (predictions.image_id, predictions.category_id, predictions.score)
    )
    return np.column_stack((image, *box, score, category))
