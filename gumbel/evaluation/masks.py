"""Masks as runs of pixels: decoded from COCO's compressed RLE, measured, intersected, and reduced to their boundary.

A mask is kept as the intervals [start, stop) of its pixels, which are numbered down the columns from the left. All
masks of a :class:`Masks` lie one after the other in two arrays, so that compiled loops need no Python objects.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from gumbel.evaluation.compiled import compiled

#: Width of a boundary as a share of the image's diagonal (Cheng et al., "Boundary IoU", CVPR 2021).
DILATION = 0.02


class Masks(NamedTuple):
    """n masks; intervals ``ends[k]`` to ``ends[k + 1]`` are those of mask k."""

    start: np.ndarray  # (R,) int32
    stop: np.ndarray  # (R,) int32
    ends: np.ndarray  # (n + 1,) int64
    area: np.ndarray  # (n,) float64, in pixels
    box: np.ndarray  # (n, 4) int32: first and last column, first and last row


def decode(counts: np.ndarray, spans: np.ndarray, size: np.ndarray) -> Masks:
    """Masks from compressed RLEs.

    ``counts`` (bytes,) uint8, ``spans`` (n, 2) where those of each mask begin and end, ``size`` (n, 2) height and
    width. Raises ValueError for counts that do not fill their image.
    """
    n = len(spans)
    room = int((spans[:, 1] - spans[:, 0]).sum()) // 2 + n
    start, stop = np.empty((2, room), np.int32)
    masks = Masks(start, stop, np.zeros(n + 1, np.int64), np.empty(n), np.empty((n, 4), np.int32))
    whole = _decode(counts, spans, size, masks)
    if not whole.all():
        raise ValueError(
            f"expected masks whose runs fill their image, found {(~whole).sum()} with damaged counts: write them again"
        )
    used = masks.ends[-1]
    return masks._replace(start=start[:used], stop=stop[:used])


def from_segmentations(segmentations: Sequence[Any], size: np.ndarray) -> Masks:
    """Masks of annotations: polygons, or RLEs compressed or not; ``size`` (n, 2) is that of their images."""
    counts = [object_mask(one, *hw)["counts"] for one, hw in zip(segmentations, size.tolist(), strict=True)]
    encoded = [one.encode() if isinstance(one, str) else one for one in counts]
    ends = np.cumsum([0, *map(len, encoded)])
    return decode(np.frombuffer(b"".join(encoded), np.uint8), np.stack([ends[:-1], ends[1:]], axis=1), size)


def object_mask(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons, or an RLE compressed or not, as a compressed RLE."""
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return segmentation
    parts = coco_mask.frPyObjects(segmentation, height, width)
    if not isinstance(parts, list):
        return parts
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


def boundaries(masks: Masks, size: np.ndarray, chosen: np.ndarray) -> Masks:
    """The pixels of each ``chosen`` (n,) mask that lie within :data:`DILATION` of what is outside it or the image.

    As the reference implementation, which erodes by a square of 3 x 3 as often as the boundary is wide. What is not
    chosen stays empty. ``size`` (n, 2) is that of the images.
    """
    reach = np.maximum(np.rint(DILATION * np.sqrt((size.astype(np.float64) ** 2).sum(axis=1))), 1).astype(np.int64)
    return _boundaries(masks, size[:, 0].astype(np.int64), reach, chosen)


@compiled
def _decode(counts: np.ndarray, spans: np.ndarray, size: np.ndarray, masks: Masks) -> np.ndarray:
    """COCO's encoding: five bits a character and a sign; from the third run on, the difference to the last but one."""
    start, stop, ends, area, box = masks
    used = 0
    whole = np.ones(len(spans), np.bool_)
    for k in range(len(whole)):
        h = int(size[k, 0])
        height = np.uint32(h)  # divided by in half the time
        pixels = int(size[k, 1]) * h
        place, run, before, last, number = 0, 0, 0, 0, 0
        left, right, top, bottom, total = pixels, -1, h, -1, 0
        at, end = spans[k]
        while at < end:
            value, shift, more = 0, 0, True
            while more and at < end:
                piece = int(counts[at]) - 48
                value |= (piece & 31) << shift
                shift += 5
                more = piece & 32 != 0
                if not more and piece & 16:
                    value |= -1 << shift
                at += 1
            if more or shift > 60:
                whole[k] = False
            run = value + before if number > 2 else value
            if run < 0:
                whole[k] = False
                break
            before, last = last, run
            if number % 2 == 1 and run > 0:
                first, final = place, place + run - 1
                if final >= pixels:
                    whole[k] = False
                    break
                start[used], stop[used] = first, final + 1
                used += 1
                total += run
                column, other = int(np.uint32(first) // height), int(np.uint32(final) // height)
                left, right = min(left, column), max(right, other)
                if column == other:
                    top, bottom = min(top, first - column * h), max(bottom, final - column * h)
                else:
                    top, bottom = 0, h - 1
            place += run
            number += 1
        if place != pixels:
            whole[k] = False
        ends[k + 1] = used
        area[k] = total
        box[k, 0], box[k, 1], box[k, 2], box[k, 3] = left, right, top, bottom
    return whole


@compiled
def _boundaries(masks: Masks, height: np.ndarray, reach: np.ndarray, chosen: np.ndarray) -> Masks:
    start, stop, ends, _, box = masks
    numbers, area, used = np.zeros_like(ends), np.zeros(len(chosen)), 0
    found, until = np.empty(1024, np.int32), np.empty(1024, np.int32)
    for k in range(len(chosen)):
        if chosen[k] and ends[k + 1] > ends[k]:
            h, r = height[k], reach[k]
            left, columns = int(box[k, 0]), int(box[k, 1] - box[k, 0] + 1)
            top, rows = int(box[k, 2]), int(box[k, 3] - box[k, 2] + 1)
            inside = np.zeros((columns, rows), np.uint8)  # 1: of the mask, 2: and far from its upper and lower edges
            for n in range(ends[k], ends[k + 1]):
                for column in range(start[n] // h, (stop[n] - 1) // h + 1):
                    low, high = max(start[n] - column * h, 0), min(stop[n] - column * h, h)
                    for row in range(low, high):
                        inside[column - left, row - top] = 1
            for column in range(columns):
                length = 0
                for row in range(rows):
                    length = length + 1 if inside[column, row] else 0
                    if length >= 2 * r + 1:
                        inside[column, row - r] = 2
            length_of = np.zeros(rows, np.int64)
            for column in range(columns):
                for row in range(rows):
                    length_of[row] = length_of[row] + 1 if inside[column, row] == 2 else 0
                for row in range(rows):
                    if length_of[row] >= 2 * r + 1:
                        inside[column - r, row] |= 4
            for column in range(columns):
                if used + rows > len(found):
                    found = np.concatenate((found, np.empty(len(found) + rows, np.int32)))
                    until = np.concatenate((until, np.empty(len(until) + rows, np.int32)))
                open_at = -1
                for row in range(rows + 1):
                    edge = row < rows and 0 < inside[column, row] < 4
                    if edge and open_at < 0:
                        open_at = row
                    elif not edge and open_at >= 0:
                        offset = (left + column) * h + top
                        found[used], until[used] = offset + open_at, offset + row
                        area[k] += row - open_at
                        used += 1
                        open_at = -1
        numbers[k + 1] = used
    return Masks(found[:used].copy(), until[:used].copy(), numbers, area, box)
