"""Which detection matches which object, found once for everything that is made of it.

Matching within an image does not depend on other images. So shapes are read, decoded and compared some images at a
time, on every core that the process may use; what stays is a row of numbers for each detection and each object. AP, AP
of resampled images and types of error are made of these.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gumbel.evaluation.ground_truth import GroundTruth, Objects
from gumbel.evaluation.masks import Masks, boundaries, decode
from gumbel.evaluation.pairs import Pairs, Scene, assign, box_iou, mask_iou, nearest
from gumbel.evaluation.predictions import Predictions, Shapes
from gumbel.evaluation.protocol import AREAS, IOU_THRESHOLDS, Selection
from gumbel.jobs.terminal import track

LEAST = float(IOU_THRESHOLDS[0])
ALL = np.uint16((1 << len(IOU_THRESHOLDS)) - 1)


class Ranking(NamedTuple):
    """Detections by category and falling score, and objects by category, that count in one range of areas.

    Categories and images are indices in the order of their ids. Bit t of ``true`` says that the detection is a
    true positive at IoU threshold t, bit t of ``counted`` that it is a true or a false one.
    """

    category: np.ndarray  # (D,)
    image: np.ndarray  # (D,)
    true: np.ndarray  # (D,) uint16
    counted: np.ndarray  # (D,) uint16
    object_category: np.ndarray  # (G,)
    object_image: np.ndarray  # (G,)


class Overlaps(NamedTuple):
    """How D detections, by image and falling score, lie on the G objects of their images; object -1 is none.

    ``judged`` says that the detection is a true or a false positive at the first IoU threshold, ``taken`` which object
    it matches there, ``own`` which object of its category it overlaps most, and ``other`` which of another category.
    """

    image: np.ndarray  # (D,) index
    category: np.ndarray  # (D,) index
    score: np.ndarray  # (D,) float64
    judged: np.ndarray  # (D,) bool
    taken: np.ndarray  # (D,) int32
    own: np.ndarray  # (D,) int32
    other: np.ndarray  # (D,) int32
    own_iou: np.ndarray  # (D,) float64, 0 without an object
    other_iou: np.ndarray  # (D,) float64
    object_category: np.ndarray  # (G,) index
    frequencies: np.ndarray  # (K,) r, c or f


class Matches(NamedTuple):
    """All that figures under image weights need: I images, K categories."""

    rankings: list[Ranking]  # one for each range of areas: all, small, medium, large
    images: np.ndarray  # (I,) ids, ascending
    frequencies: np.ndarray  # (K,) r, c or f


class Found(NamedTuple):
    """What :func:`find_matches` returns."""

    matches: dict[str, Matches]  # by IoU type
    zero_area: dict[str, int]  # detections that are left out for having no area, by IoU type
    overlaps: Overlaps | None


class _Part(NamedTuple):
    """The n detections of some images, by image and falling score, and their m objects."""

    scene: Scene
    image: np.ndarray  # (n,) index
    score: np.ndarray  # (n,) float64
    spared: np.ndarray  # (n,) bool: of a category that is not exhaustively annotated in the image
    shapes: Shapes
    objects: Objects
    places: np.ndarray  # (m,) of the objects in GroundTruth.objects


class _Piece(NamedTuple):
    """What is found of a part, detections of zero area left out; A ranges of areas."""

    image: np.ndarray  # (D,)
    category: np.ndarray  # (D,)
    score: np.ndarray  # (D,)
    true: np.ndarray  # (A, D) uint16
    counted: np.ndarray  # (A, D) uint16
    taken: np.ndarray  # (D,) int32, as in Overlaps


def find_matches(
    truth: GroundTruth, predictions: Predictions, chosen: Selection, iou_types: tuple[str, ...], overlaps: bool
) -> Found:
    """Match the ``chosen`` detections, under each of ``iou_types``.

    ``overlaps`` tells how masks lie on objects as well. Raises ValueError for shapes that cannot be scored.
    """
    parts = _parts(truth, predictions, chosen, "bbox" in iou_types)
    shown = track(parts, "matching detections", len(chosen.rows), lambda part: len(part.score))
    matched = in_parallel(lambda part: _match(part, truth, iou_types, overlaps), shown)
    found, lying = zip(*matched, strict=True)
    whole = {iou_type: _Piece(*_joined([part.pop(iou_type) for part in found])) for iou_type in iou_types}
    return Found(
        {iou_type: _rank(truth, piece) for iou_type, piece in whole.items()},
        {iou_type: len(chosen.rows) - len(piece.category) for iou_type, piece in whole.items()},
        Overlaps(*[*_joined(lying), truth.objects.category, truth.frequencies]) if overlaps else None,
    )


def in_parallel(work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results in the order of ``items``, of which no more are held than there are cores to work on them, and one."""
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        pending: deque[Future[Any]] = deque()
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > cores:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _joined(parts: Sequence[Iterable[np.ndarray]]) -> list[np.ndarray]:
    """Column by column, along the last axis, by the first column, which is the image."""
    columns = [np.concatenate(pieces, axis=-1) for pieces in zip(*parts, strict=True)]
    if (columns[0][1:] >= columns[0][:-1]).all():
        return columns
    order = np.argsort(columns[0], kind="stable")
    return [column[..., order] for column in columns]


def _parts(truth: GroundTruth, predictions: Predictions, chosen: Selection, boxes: bool) -> Iterator[_Part]:
    spared = truth.listed("not_exhaustive_category_ids")
    rows, image, category, _ = chosen
    bounds = np.searchsorted(truth.objects.image, np.arange(len(truth.images) + 1))
    for own, shapes in predictions.parts(rows, boxes):
        _check_sizes(truth, image[own], shapes)
        shown, place = np.unique(image[own], return_inverse=True)
        number = bounds[shown + 1] - bounds[shown]
        last = np.cumsum(number)
        first = last - number
        places = np.arange(number.sum()) + np.repeat(bounds[shown] - first, number)
        objects = truth.objects.take(places)
        scene = Scene(category[own], first[place], last[place], objects.category)
        columns = image[own], predictions.score[rows[own]], spared[image[own], category[own]]
        yield _Part(scene, *columns, shapes, objects, places.astype(np.int32))


def _check_sizes(truth: GroundTruth, image: np.ndarray, shapes: Shapes) -> None:
    if shapes.mask_size is not None:
        wrong = (shapes.mask_size != truth.sizes[image]).any(axis=1)
        if wrong.any():
            raise ValueError(
                f"expected masks of their image's height and width, found {wrong.sum()} of another size, first in "
                f"image {truth.image_ids[image[wrong.argmax()]]}: paste masks into the whole image before encoding them"
            )


def _match(
    part: _Part, truth: GroundTruth, iou_types: tuple[str, ...], overlaps: bool
) -> tuple[dict[str, _Piece], tuple[np.ndarray, ...]]:
    """What is found of a part under each of ``iou_types``, and, if asked for, the columns of :class:`Overlaps`.

    Masks are decoded and compared once.
    """
    if overlaps and part.shapes.counts is None:
        raise ValueError("expected masks for --errors, found detections without `segmentation`: leave --errors out")
    found: dict[str, _Piece] = {}
    if "bbox" in iou_types:
        if part.shapes.box is None:
            raise ValueError("expected boxes, found detections without `bbox`: use `--iou-type segm` alone")
        area = part.shapes.box[:, 2] * part.shapes.box[:, 3]
        places, others = part.scene.candidates(across=False)
        pairs = Pairs(places, others, box_iou(part.shapes.box[places], part.objects.box[others]))
        found["bbox"] = _assigned(part, area, pairs.to_match(part.scene, LEAST))
    if iou_types == ("bbox",) and not overlaps:
        return found, ()
    size, object_size = truth.sizes[part.image], truth.sizes[part.objects.image]
    places, others = part.scene.candidates(across=overlaps)
    masks = decode(*part.shapes.runs(), size, np.isin(np.arange(len(size)), places))
    objects = truth.segmentations.fill(part.places, object_size)
    every = Pairs(places, others, mask_iou(masks, objects, places, others))
    pairs = every.to_match(part.scene, LEAST)
    piece = _assigned(part, masks.area, pairs)
    if "segm" in iou_types:
        found["segm"] = piece
    if "boundary" in iou_types:
        found["boundary"] = _assigned(part, masks.area, _at_boundaries(pairs, masks, objects, size, object_size))
    if not overlaps:
        return found, ()
    lying, iou = nearest(part.scene, every)
    number = np.append(part.places, np.int32(-1))  # the last one for none
    judged = (piece.counted[0] & 1).astype(bool)
    columns = piece.image, piece.category, piece.score, judged, number[piece.taken], *number[lying[:, masks.area > 0]]
    return found, (*columns, *iou[:, masks.area > 0])


def _at_boundaries(pairs: Pairs, masks: Masks, objects: Masks, size: np.ndarray, object_size: np.ndarray) -> Pairs:
    """The pairs with the smaller one of the IoU of the masks and that of their boundaries, as the challenge has it."""
    first = boundaries(masks, size, np.isin(np.arange(len(size)), pairs.detections))
    second = boundaries(objects, object_size, np.isin(np.arange(len(object_size)), pairs.objects))
    return pairs._replace(iou=np.minimum(pairs.iou, mask_iou(first, second, pairs.detections, pairs.objects)))


def _assigned(part: _Part, area: np.ndarray, pairs: Pairs) -> _Piece:
    """Detections of a part with the objects that they take; ``area`` is theirs, in pixels."""
    in_range = (AREAS[:, :1] <= area) & (area <= AREAS[:, 1:])
    # What no object takes is a false positive, if it has the size and its category is exhaustively annotated
    true, counted = np.zeros(in_range.shape, np.uint16), np.where(in_range & ~part.spared, ALL, np.uint16(0))
    taken = assign(pairs, part.objects.area, IOU_THRESHOLDS, AREAS, true, counted)
    keep = np.flatnonzero(area > 0)
    columns = part.image, part.scene.category, part.score, true, counted, taken
    return _Piece(*[column[..., keep] for column in columns])


def taken(overlap: np.ndarray) -> np.ndarray:
    """The object (G) that each detection takes, of D in order, at the first threshold; -1 for none.

    ``overlap`` (D, G) is their IoU, 0 for pairs that are not to match.
    """
    detections, objects = np.nonzero(overlap >= LEAST)
    nothing = np.zeros((2, 1, len(overlap)), np.uint16)
    pairs = Pairs(detections, objects, overlap[detections, objects])
    return assign(pairs, np.zeros(overlap.shape[1]), IOU_THRESHOLDS[:1], AREAS[:1], *nothing)


def _rank(truth: GroundTruth, piece: _Piece) -> Matches:
    # Equal scores stay in the order of images, as in the official API
    order = np.lexsort((-piece.score, piece.category))
    objects = np.argsort(truth.objects.category, kind="stable")
    rankings = []
    for area, (low, high) in enumerate(AREAS):
        counted = order[piece.counted[area, order] > 0]
        size = truth.objects.area[objects]
        chosen = objects[(size >= low) & (size <= high)]
        columns = piece.category[counted], piece.image[counted], piece.true[area, counted], piece.counted[area, counted]
        rankings.append(Ranking(*columns, truth.objects.category[chosen], truth.objects.image[chosen]))
    return Matches(rankings, truth.image_ids, truth.frequencies)
