"""The LVIS protocol: its constants, and which detections it scores."""

import warnings
from typing import NamedTuple

import numpy as np

from gumbel.evaluation.ground_truth import GroundTruth
from gumbel.evaluation.predictions import Predictions

MAX_DETECTIONS = 300
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
IOU_TYPES = ("segm", "bbox", "boundary")
SIZES = ("", "s", "m", "l")  #: of objects: all, small, medium, large
#: The sizes' ranges of areas in square pixels.
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)], dtype=np.float64)


class Protocol(NamedTuple):
    """How many detections are kept, those of the highest scores."""

    per_image: int | None
    per_category: int | None


#: ``fixed`` is AP-fixed (Dave et al., "Evaluating Large-Vocabulary Object Detectors", 2021).
PROTOCOLS = {"lvis": Protocol(MAX_DETECTIONS, None), "fixed": Protocol(None, 10_000)}


def select(truth: GroundTruth, predictions: Predictions, protocol: str = "lvis") -> tuple[np.ndarray, dict[str, int]]:
    """Rows that are scored, by image id and falling score, and how many detections fell out at each step.

    First those of images that are not asked for, then those over the cap, then unknown categories, then those that the
    federated protocol does not judge: the category is neither annotated in the image nor listed as absent. Warns of
    unknown categories, and of many images without detections. Raises ValueError for detections in unknown images.
    """
    rows = np.flatnonzero(_in_images(truth, predictions))
    capped = _cap(predictions, rows, PROTOCOLS[protocol])
    known = capped[np.isin(predictions.category_id[capped], truth.category_ids)]
    judged = truth.listed("neg_category_ids")
    judged[truth.objects.image, truth.objects.category] = True
    pairs = (
        np.searchsorted(truth.image_ids, predictions.image_id[known]),
        np.searchsorted(truth.category_ids, predictions.category_id[known]),
    )
    scored = known[judged[pairs]]
    found = len(np.unique(predictions.image_id[rows]))
    _warn(truth, predictions, len(truth.images) - found)
    return scored, {
        "read": len(predictions),
        "in_other_images": len(predictions) - len(rows),
        "over_the_cap": len(rows) - len(capped),
        "unknown_category": len(capped) - len(known),
        "not_judged": len(known) - len(scored),
        "images_without": len(truth.images) - found,
    }


def _in_images(truth: GroundTruth, predictions: Predictions) -> np.ndarray:
    inside = np.isin(predictions.image_id, truth.image_ids)
    strange = ~inside & ~np.isin(predictions.image_id, truth.other_images)
    if strange.any():
        raise ValueError(
            f"expected detections in images of the annotations, found {strange.sum()} in others, first in image "
            f"{predictions.image_id[strange.argmax()]}: score them against the annotations they were predicted for"
        )
    return inside


def _warn(truth: GroundTruth, predictions: Predictions, empty: int) -> None:
    foreign = ~np.isin(predictions.category_id, truth.category_ids)
    if foreign.any():
        warnings.warn(
            f"{foreign.sum()} detections are not scored, their categories are not in the annotations, first "
            f"{predictions.category_id[foreign.argmax()]}: check that labels were turned into LVIS ids",
            stacklevel=3,
        )
    if len(predictions) and 3 * empty > len(truth.images):
        warnings.warn(
            f"{empty} of {len(truth.images)} images have no detections, so that all their objects count as missed: "
            "check that the predictions are whole, and of the images that the annotations are of",
            stacklevel=3,
        )


def _cap(predictions: Predictions, rows: np.ndarray, protocol: Protocol) -> np.ndarray:
    """The ``rows`` that are kept, by image id and falling score; equal scores stay in the order of the file."""
    for column, most in ((predictions.category_id, protocol.per_category), (predictions.image_id, protocol.per_image)):
        if most is not None:
            order = rows[np.lexsort((-predictions.score[rows], column[rows]))]
            first = np.searchsorted(column[order], column[order], side="left")
            rows = np.sort(order[np.arange(len(order)) - first < most])
    return rows[np.lexsort((-predictions.score[rows], predictions.image_id[rows]))]
