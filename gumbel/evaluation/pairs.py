"""Compiled loops over the detections and objects of an image: their IoU, and which object a detection takes."""

from typing import NamedTuple

import numpy as np

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.masks import Masks


class Scene(NamedTuple):
    """n detections by image and falling score, and m objects by image; categories are indices."""

    category: np.ndarray  # (n,)
    first: np.ndarray  # (n,) int64, the first object of the detection's image
    last: np.ndarray  # (n,) int64, the one behind the last
    object_category: np.ndarray  # (m,)


class Pairs(NamedTuple):
    """Detections and objects of the same image and category whose IoU reaches the first threshold.

    Pairs ``ends[d]`` to ``ends[d + 1]`` are those of detection d, objects ascending.
    """

    ends: np.ndarray  # (n + 1,) int64
    objects: np.ndarray  # (P,) int32
    iou: np.ndarray  # (P,) float64


@compiled
def box_pairs(scene: Scene, box: np.ndarray, object_box: np.ndarray, least: float) -> Pairs:
    """Pairs whose boxes (x, y, width, height) have an IoU of at least ``least``."""
    ends = np.zeros(len(box) + 1, np.int64)
    objects, ious = np.empty(1024, np.int32), np.empty(1024)
    used = 0
    for d in range(len(box)):
        for g in range(scene.first[d], scene.last[d]):
            if scene.object_category[g] == scene.category[d]:
                iou = _box_iou(box[d], object_box[g])
                if iou >= least:
                    if used == len(objects):
                        objects, ious = np.concatenate((objects, objects)), np.concatenate((ious, ious))
                    objects[used], ious[used] = g, iou
                    used += 1
        ends[d + 1] = used
    return Pairs(ends, objects[:used].copy(), ious[:used].copy())


@compiled
def _box_iou(one: np.ndarray, other: np.ndarray) -> float:
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


@compiled
def mask_pairs(
    scene: Scene, masks: Masks, objects: Masks, least: float, lying: np.ndarray, overlap: np.ndarray
) -> Pairs:
    """As :func:`box_pairs` for masks.

    ``lying`` and ``overlap`` (2, n), unless they are empty, get the object of the same and of another category that
    each detection overlaps most, of equal ones the first, and its IoU.
    """
    ends = np.zeros(len(masks.area) + 1, np.int64)
    found, ious = np.empty(1024, np.int32), np.empty(1024)
    used, across = 0, lying.shape[1] > 0
    for d in range(len(masks.area)):
        for g in range(scene.first[d], scene.last[d]):
            other = int(scene.object_category[g] != scene.category[d])
            if other and not across:
                continue
            iou = _mask_iou(masks, d, objects, g)
            if across and iou > overlap[other, d]:
                lying[other, d], overlap[other, d] = g, iou
            if not other and iou >= least:
                if used == len(found):
                    found, ious = np.concatenate((found, found)), np.concatenate((ious, ious))
                found[used], ious[used] = g, iou
                used += 1
        ends[d + 1] = used
    return Pairs(ends, found[:used].copy(), ious[:used].copy())


@compiled
def _mask_iou(mask: Masks, d: int, other: Masks, g: int) -> float:
    """IoU of mask ``d`` with mask ``g`` of the others."""
    start, stop, ends, area, box = mask
    starts, stops, others, areas, boxes = other
    apart = box[d, 0] > boxes[g, 1] or boxes[g, 0] > box[d, 1] or box[d, 2] > boxes[g, 3] or boxes[g, 2] > box[d, 3]
    if apart:
        return 0.0
    of, against = slice(ends[d], ends[d + 1]), slice(others[g], others[g + 1])
    shared = _intersection(start[of], stop[of], starts[against], stops[against])
    return shared / (area[d] + areas[g] - shared) if shared else 0.0


@compiled
def _intersection(start: np.ndarray, stop: np.ndarray, others: np.ndarray, stops: np.ndarray) -> int:
    """Pixels that two masks share, one of intervals ``start`` to ``stop``, the other of ``others`` to ``stops``."""
    shared, d, g = 0, 0, 0
    while d < len(start) and g < len(others):
        low, high = max(start[d], others[g]), min(stop[d], stops[g])
        if high > low:
            shared += high - low
        if stop[d] < stops[g]:
            d += 1
        else:
            g += 1
    return shared


@compiled
def lower(pairs: Pairs, masks: Masks, objects: Masks) -> None:
    """Lower the IoU of each pair to that of other masks of the same detections and objects."""
    for d in range(len(pairs.ends) - 1):
        for p in range(pairs.ends[d], pairs.ends[d + 1]):
            pairs.iou[p] = min(pairs.iou[p], _mask_iou(masks, d, objects, int(pairs.objects[p])))


@compiled
def assign(
    pairs: Pairs, area: np.ndarray, thresholds: np.ndarray, ranges: np.ndarray, true: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Let detections, in order, take objects, at each of ``thresholds`` and in each of the ``ranges`` of areas (A, 2).

    ``area`` is the objects'. As the official API: a detection takes the free object of most overlap, of equal ones the
    last, and one that is ignored for its size only where no other has enough overlap. Sets the bits of ``true`` and
    ``counted`` (A, n), and returns which object is taken at the first threshold and range (n,), -1 for none.
    """
    ends, objects, iou = pairs
    taken = np.full(len(ends) - 1, -1, np.int32)
    paired = np.flatnonzero(ends[1:] > ends[:-1])
    for a in range(len(ranges)):
        ignored = (area < ranges[a, 0]) | (area > ranges[a, 1])
        for t in range(len(thresholds)):
            bit = np.uint16(1 << t)
            free = np.ones(len(area), np.bool_)
            for d in paired:
                best = -1
                for outside in (False, True):
                    least = thresholds[t]
                    for p in range(ends[d], ends[d + 1]):
                        if free[objects[p]] and ignored[objects[p]] == outside and iou[p] >= least:
                            least = iou[p]
                            best = objects[p]
                    if best >= 0:
                        break
                if best >= 0:
                    free[best] = False
                    if a == 0 and t == 0:
                        taken[d] = best
                    if ignored[best]:
                        counted[a, d] &= ~bit
                    else:
                        true[a, d] |= bit
                        counted[a, d] |= bit
    return taken
