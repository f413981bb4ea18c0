"""Detections and objects of an image in pairs: their IoU, and which object a detection takes."""

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

    def candidates(self, across: bool) -> tuple[np.ndarray, np.ndarray]:
        """Each detection with each object of its image, and of its category unless ``across``; (P,), ascending."""
        number = self.last - self.first
        detections = np.repeat(np.arange(len(number)), number)
        objects = np.arange(len(detections)) + np.repeat(self.last - np.cumsum(number), number)
        chosen = slice(None) if across else self.category[detections] == self.object_category[objects]
        return detections[chosen], objects[chosen]


class Pairs(NamedTuple):
    """Detections with objects of their images, detections ascending, then objects."""

    detections: np.ndarray  # (P,) int64
    objects: np.ndarray  # (P,) int64
    iou: np.ndarray  # (P,) float64

    def to_match(self, scene: Scene, least: float) -> "Pairs":
        """Those of the same category whose IoU is at least ``least``."""
        alike = scene.category[self.detections] == scene.object_category[self.objects]
        return Pairs(*[column[alike & (self.iou >= least)] for column in self])


def box_iou(box: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU (P,) of boxes x, y, width, height, (P, 4) each."""
    stop = np.minimum(box[:, :2] + box[:, 2:], other[:, :2] + other[:, 2:])
    shared = np.maximum(stop - np.maximum(box[:, :2], other[:, :2]), 0).prod(axis=1)
    union = box[:, 2:].prod(axis=1) + other[:, 2:].prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros(len(box)), where=shared > 0)


@compiled
def mask_iou(masks: Masks, other: Masks, of: np.ndarray, against: np.ndarray) -> np.ndarray:
    """IoU of the masks at ``of`` (P,) with the others at ``against`` (P,)."""
    start, stop, ends, area, box = masks
    starts, stops, others, areas, boxes = other
    iou = np.zeros(len(of))
    for p in range(len(of)):
        d, g = of[p], against[p]
        apart = box[d, 0] > boxes[g, 1] or boxes[g, 0] > box[d, 1] or box[d, 2] > boxes[g, 3] or boxes[g, 2] > box[d, 3]
        if not apart:
            one, two = slice(ends[d], ends[d + 1]), slice(others[g], others[g + 1])
            shared = _intersection(start[one], stop[one], starts[two], stops[two])
            if shared:
                iou[p] = shared / (area[d] + areas[g] - shared)
    return iou


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
def nearest(scene: Scene, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The objects of the same and of another category that the detections overlap most, and their IoU, (2, n) each.

    Of equal ones the first; -1, and 0, where a detection lies on none.
    """
    places, iou = np.full((2, len(scene.category)), -1, np.int32), np.zeros((2, len(scene.category)))
    for p in range(len(pairs.iou)):
        d, g = pairs.detections[p], pairs.objects[p]
        other = int(scene.object_category[g] != scene.category[d])
        if pairs.iou[p] > iou[other, d]:
            places[other, d], iou[other, d] = g, pairs.iou[p]
    return places, iou


@compiled
def assign(
    pairs: Pairs, area: np.ndarray, thresholds: np.ndarray, ranges: np.ndarray, true: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Let detections, in order, take objects, at each of ``thresholds`` and in each of the ``ranges`` of areas (A, 2).

    ``area`` is the objects'. As the official API: a detection takes the free object of most overlap, of equal ones the
    last, and one that is ignored for its size only where no other has enough overlap. Sets the bits of ``true`` and
    ``counted`` (A, n), and returns which object is taken at the first threshold and range (n,), -1 for none.
    """
    detections, objects, iou = pairs
    ends = np.searchsorted(detections, np.arange(true.shape[1] + 1))
    taken = np.full(true.shape[1], -1, np.int32)
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
