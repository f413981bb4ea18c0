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


class Selection(NamedTuple):
    """Detections that are scored, by image and falling score; images and categories are indices in the order of ids."""

    rows: np.ndarray  # (n,) in the file
    image: np.ndarray  # (n,) int32
    category: np.ndarray  # (n,) int32
    counts: dict[str, int]  # how many detections were read, and fell out at each step


def select(truth: GroundTruth, predictions: Predictions, protocol: str = "lvis") -> Selection:
    """Choose the detections that ``protocol``, one of :data:`PROTOCOLS`, scores.

    First those of images that are not asked for fall out, then those over the cap, then unknown categories, then those
    that the federated protocol does not judge: the category is neither annotated in the image nor listed as absent.
    Warns of unknown categories, and of many images without detections. Raises ValueError for detections in unknown
    images.
    """
    image, asked = _index(truth.image_ids, predictions.image_id)
    _refuse_unknown_images(truth, predictions, asked)
    category, known = _index(truth.category_ids, predictions.category_id)
    inside = np.flatnonzero(asked)
    empty = len(truth.images) - int(np.count_nonzero(np.bincount(image[inside])))
    _warn(truth, predictions, known, empty)
    per_image, per_category = PROTOCOLS[protocol]
    capped = inside
    if per_category is not None:
        capped = np.sort(_first(capped, predictions.category_id, predictions.score, per_category))
    capped = _first(capped, image, predictions.score, per_image)
    rows = capped[known[capped]]
    judged = truth.listed("neg_category_ids")
    judged[truth.objects.image, truth.objects.category] = True
    scored = rows[judged[image[rows], category[rows]]]
    counts = {
        "read": len(predictions),
        "in_other_images": len(predictions) - len(inside),
        "over_the_cap": len(inside) - len(capped),
        "unknown_category": len(capped) - len(rows),
        "not_judged": len(rows) - len(scored),
        "images_without": empty,
    }
    return Selection(scored, image[scored], category[scored], counts)


def _index(ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of each value among ``ids``, ascending, 0 for one that is not there, and whether it is."""
    place = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    known = ids[place] == values
    return np.where(known, place, 0).astype(np.int32), known


def _refuse_unknown_images(truth: GroundTruth, predictions: Predictions, asked: np.ndarray) -> None:
    others = predictions.image_id[~asked]
    strange = others[~np.isin(others, truth.other_images)]
    if len(strange):
        both = len(np.intersect1d(predictions.image_id, truth.image_ids))
        raise ValueError(
            f"expected detections in images of the annotations, found {len(strange)} in others, first in image "
            f"{strange[0]}, and {both} of {len(truth.images)} images with detections: score them against the "
            "annotations they were predicted for"
        )


def _warn(truth: GroundTruth, predictions: Predictions, known: np.ndarray, empty: int) -> None:
    if not known.all():
        warnings.warn(
            f"{(~known).sum()} detections are not scored, their categories are not in the annotations, first "
            f"{predictions.category_id[known.argmin()]}: check that labels were turned into LVIS ids",
            stacklevel=3,
        )
    if 3 * empty > len(truth.images):
        warnings.warn(
            f"{empty} of {len(truth.images)} images have no detections, so that all their objects count as missed: "
            "check that the predictions are whole, and of the images that the annotations are of",
            stacklevel=3,
        )


def _first(rows: np.ndarray, group: np.ndarray, score: np.ndarray, number: int | None) -> np.ndarray:
    """The ``rows`` by ``group`` (N,) and falling score, of each the first ``number``; ties stay in their order."""
    order = rows[np.lexsort((-score[rows], group[rows]))]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return order if number is None else order[rank < number]
