"""Which detection matches which object, kept so that AP can be computed again under other image weights.

Matching within an image does not depend on other images, so it is done once; AP then follows from the ranked
true and false positives and the number of objects, each counted with the weight of its image.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.lvis_ap import collector_paused, select
from gumbel.evaluation.predictions import Predictions, read_predictions
from gumbel.evaluation.protocol import IOU_THRESHOLDS, Batch, batches

#: Ranges of areas in square pixels: all, small, medium, large.
AREAS = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)], dtype=np.float64)
ALL = np.uint16((1 << len(IOU_THRESHOLDS)) - 1)


class Ranking(NamedTuple):
    """Detections by category and falling score, and objects, that count in one range of areas.

    Categories and images are indices in the order of their ids. Bit t of ``true`` says that the detection is a
    true positive at IoU threshold t, bit t of ``counted`` that it is a true or a false one.
    """

    category: np.ndarray  # (D,)
    image: np.ndarray  # (D,)
    true: np.ndarray  # (D,) uint16
    counted: np.ndarray  # (D,) uint16
    object_category: np.ndarray  # (G,)
    object_image: np.ndarray  # (G,)


class Matches(NamedTuple):
    """All that AP under image weights needs: I images, K categories."""

    rankings: list[Ranking]  # one for each range of areas: all, small, medium, large
    images: np.ndarray  # (I,) ids, ascending
    frequencies: np.ndarray  # (K,) r, c or f


class _Piece(NamedTuple):
    """Detections of some images, by image and falling score, and their objects; A ranges of areas."""

    category: np.ndarray  # (D,)
    image: np.ndarray  # (D,)
    score: np.ndarray  # (D,)
    true: np.ndarray  # (A, D) uint16
    counted: np.ndarray  # (A, D) uint16
    object_category: np.ndarray  # (G,)
    object_image: np.ndarray  # (G,)
    object_area: np.ndarray  # (G,) in pixels


@collector_paused()
def match(annotations: Path, predictions: Path, iou_type: str) -> Matches:
    """Match a file of detections with LVIS v1 annotations once, under the protocol of ``lvis_ap.evaluate``."""
    return find_matches(read_ground_truth(annotations), read_predictions(predictions), iou_type)


def find_matches(truth: GroundTruth, detections: Predictions, iou_type: str) -> Matches:
    """What :func:`match` finds, of files that are read already."""
    rows, _ = select(truth, detections)
    images = np.array([image["id"] for image in truth.images], dtype=np.int64)
    pieces = [
        _match(images, truth.category_ids, detections, batch, iou_type)
        for batch in batches(truth, detections, rows, iou_type)
    ]
    whole = _Piece(*(np.concatenate(parts, axis=-1) for parts in zip(*pieces, strict=True)))
    # Equal scores stay in the order of images, as in the official API
    order = np.lexsort((-whole.score, whole.category))
    objects = np.argsort(whole.object_category, kind="stable")
    rankings = [_rank(whole, order, objects, area) for area in range(len(AREAS))]
    return Matches(rankings, images, truth.frequencies)


def _rank(whole: _Piece, order: np.ndarray, objects: np.ndarray, area: int) -> Ranking:
    low, high = AREAS[area]
    order = order[whole.counted[area, order] > 0]
    size = whole.object_area[objects]
    objects = objects[(size >= low) & (size <= high)]
    return Ranking(
        whole.category[order],
        whole.image[order],
        whole.true[area, order],
        whole.counted[area, order],
        whole.object_category[objects],
        whole.object_image[objects],
    )


def _match(images: np.ndarray, categories: np.ndarray, predictions: Predictions, batch: Batch, iou_type: str) -> _Piece:
    """Match the detections of a batch with its objects, image by image and category by category.

    ``images`` (I,) and ``categories`` (K,) are all ids, ascending.
    """
    span = len(categories)

    def pairs(image_id: Any, category_id: Any) -> np.ndarray:
        """Image and category as one number, ascending with the image."""
        return np.searchsorted(images, image_id) * span + np.searchsorted(categories, category_id)

    found = pairs(predictions.image_id[batch.rows], predictions.category_id[batch.rows])
    known = pairs(*([entry[key] for entry in batch.annotations] for key in ("image_id", "category_id")))
    open_ended = [(image["id"], k) for image in batch.images for k in image["not_exhaustive_category_ids"]]
    spared = np.isin(found, pairs(*zip(*open_ended, strict=True)) if open_ended else [])
    area = np.array([entry["area"] for entry in batch.annotations], dtype=np.float64)
    in_range = (AREAS[:, :1] <= batch.areas) & (batch.areas <= AREAS[:, 1:])
    # What no object takes is a false positive, if it has the size and its category is exhaustively annotated
    true = np.zeros(in_range.shape, np.uint16)
    counted = np.where(in_range & ~spared, ALL, np.uint16(0))
    by_pair, objects = np.argsort(found, kind="stable"), np.argsort(known, kind="stable")
    shapes = _shapes(batch, iou_type)
    both = np.intersect1d(found, known)
    bounds = (
        np.searchsorted(column, both, side=side).tolist()
        for column in (found[by_pair], known[objects])
        for side in ("left", "right")
    )
    for first, last, first_object, last_object in zip(*bounds, strict=True):
        chosen, own = by_pair[first:last], objects[first_object:last_object]
        overlap = _overlap([batch.shapes[d] for d in chosen], [shapes[g] for g in own])
        _assign(overlap, area[own], chosen, IOU_THRESHOLDS, AREAS, true, counted)
    return _Piece(
        found % span, found // span, predictions.score[batch.rows], true, counted, known % span, known // span, area
    )


def _shapes(batch: Batch, iou_type: str) -> list[Any]:
    """Masks (compressed RLEs) or boxes of the objects, in the order of the annotations."""
    if iou_type == "bbox":
        return [entry["bbox"] for entry in batch.annotations]
    size = {image["id"]: (image["height"], image["width"]) for image in batch.images}
    return [object_mask(entry["segmentation"], *size[entry["image_id"]]) for entry in batch.annotations]


def object_mask(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons, or an RLE compressed or not, as a compressed RLE."""
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return segmentation
    parts = rle.frPyObjects(segmentation, height, width)
    return rle.merge(parts) if isinstance(parts, list) else parts


def _overlap(found: list[Any], known: list[Any]) -> np.ndarray:
    """IoU of D detections and G objects, (D, G)."""
    return np.ascontiguousarray(rle.iou(found, known, [0] * len(known)))


@compiled
def _assign(
    overlap: np.ndarray,
    object_area: np.ndarray,
    chosen: np.ndarray,
    thresholds: np.ndarray,
    ranges: np.ndarray,
    true: np.ndarray,
    counted: np.ndarray,
) -> None:
    """Set the bits of the detections ``chosen`` in ``true`` and ``counted`` (A, D) that an object takes.

    ``overlap`` (D, G) of detections by falling score. As the official API: a detection takes the free object of most
    overlap, of equal ones the last, and one that is ignored for its size only where no other has enough overlap.
    """
    detections, objects = overlap.shape
    for a in range(len(ranges)):
        ignored = (object_area < ranges[a, 0]) | (object_area > ranges[a, 1])
        for t in range(len(thresholds)):
            bit = np.uint16(1 << t)
            free = np.ones(objects, np.bool_)
            for d in range(detections):
                best = -1
                for outside in (False, True):
                    least = min(thresholds[t], 1 - 1e-10)
                    for g in range(objects):
                        if free[g] and ignored[g] == outside and overlap[d, g] >= least:
                            least = overlap[d, g]
                            best = g
                    if best >= 0:
                        break
                if best >= 0:
                    free[best] = False
                    if ignored[best]:
                        counted[a, chosen[d]] &= ~bit
                    else:
                        true[a, chosen[d]] |= bit
                        counted[a, chosen[d]] |= bit
