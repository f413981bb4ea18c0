"""Which detection matches which object, kept so that AP can be computed again under other image weights.

Matching within an image does not depend on other images, so it is done once; AP then follows from the ranked
true and false positives and the number of objects, each counted with the weight of its image.
"""

from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hotcoco import COCO, LVISeval

from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.hotcoco_backend import columns
from gumbel.evaluation.lvis_ap import collector_paused, select
from gumbel.evaluation.predictions import Predictions, read_predictions
from gumbel.evaluation.protocol import IOU_THRESHOLDS, Batch, batches

#: Ranges of areas in square pixels: all, small, medium, large.
AREAS = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
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


@collector_paused()
def match(annotations: Path, predictions: Path, iou_type: str) -> Matches:
    """Match a file of detections with LVIS v1 annotations once, under the protocol of ``lvis_ap.evaluate``."""
    truth, detections = read_ground_truth(annotations), read_predictions(predictions)
    rows, _ = select(truth, detections)
    images = np.array([image["id"] for image in truth.images], dtype=np.int64)
    pieces: list[list[_Piece]] = [[] for _ in AREAS]
    for batch in batches(truth, detections, rows, iou_type):
        entries = _evaluate(truth, detections, batch, iou_type)
        for area, bounds in enumerate(AREAS):
            chosen = [entry for entry in entries if tuple(entry["aRng"]) == bounds]
            pieces[area].append(_gather(chosen, images, truth.category_ids))
    return Matches([_rank(parts) for parts in pieces], images, truth.frequencies)


def _evaluate(truth: GroundTruth, predictions: Predictions, batch: Batch, iou_type: str) -> list[dict[str, Any]]:
    """hotcoco's matches: an entry for each image, category and range of areas where there is anything."""
    known = COCO({"images": batch.images, "annotations": batch.annotations, "categories": truth.categories})
    masks = batch.shapes if iou_type == "segm" else None
    evaluation = LVISeval(known, known.load_res(columns(predictions, batch, iou_type), segmentation=masks), iou_type)
    evaluation.evaluate()
    return [entry for entry in evaluation.eval_imgs if entry]


class _Piece(NamedTuple):
    """A ranking before it is sorted, with its scores."""

    ranking: Ranking
    score: np.ndarray


def _gather(entries: list[dict[str, Any]], images: np.ndarray, categories: np.ndarray) -> _Piece:
    """Columns of a batch's entries, images ascending and detections of an image by falling score."""
    entries = sorted(entries, key=lambda entry: entry["image_id"])
    image = np.searchsorted(images, [entry["image_id"] for entry in entries])
    category = np.searchsorted(categories, [entry["category_id"] for entry in entries])
    found = [len(entry["dtScores"]) for entry in entries]
    matched, ignored = _bits(entries, "dtMatched"), _bits(entries, "dtIgnore")
    objects = [entry["gtIgnore"].count(False) for entry in entries]
    ranking = Ranking(
        category=np.repeat(category, found),
        image=np.repeat(image, found),
        true=matched & ~ignored,
        counted=~ignored & ALL,
        object_category=np.repeat(category, objects),
        object_image=np.repeat(image, objects),
    )
    return _Piece(ranking, np.array(list(chain.from_iterable(entry["dtScores"] for entry in entries))))


def _bits(entries: list[dict[str, Any]], key: str) -> np.ndarray:
    """Booleans per IoU threshold and detection as one number a detection."""
    bits = np.zeros(sum(len(entry["dtScores"]) for entry in entries), dtype=np.uint16)
    for threshold in range(len(IOU_THRESHOLDS)):
        values = np.array(list(chain.from_iterable(entry[key][threshold] for entry in entries)), dtype=np.uint16)
        bits |= values << threshold
    return bits


def _rank(pieces: list[_Piece]) -> Ranking:
    """All images together; equal scores stay in the order of images, as in the official API."""
    whole = Ranking(*(np.concatenate(parts) for parts in zip(*(piece.ranking for piece in pieces), strict=True)))
    score = np.concatenate([piece.score for piece in pieces])
    order = np.lexsort((-score, whole.category))
    order = order[whole.counted[order] > 0]
    objects = np.argsort(whole.object_category, kind="stable")
    return Ranking(
        whole.category[order],
        whole.image[order],
        whole.true[order],
        whole.counted[order],
        whole.object_category[objects],
        whole.object_image[objects],
    )
