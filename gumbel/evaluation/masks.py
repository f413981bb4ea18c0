"""Masks as runs of pixels: decoded from COCO's compressed RLE, filled from polygons, and reduced to their boundary.

A mask is kept as the intervals [start, stop) of its pixels, which are numbered down the columns from the left. All
masks of a :class:`Masks` lie one after the other in two arrays, so that compiled loops need no Python objects.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.predictions import spans_between

#: Width of a boundary as a share of the image's diagonal (Cheng et al., "Boundary IoU", CVPR 2021).
DILATION = 0.02
_SCALE = 5  # fifths of pixels, on which COCO's API draws polygons


class Masks(NamedTuple):
    """n masks; intervals ``ends[k]`` to ``ends[k + 1]`` are those of mask k."""

    start: np.ndarray  # (R,) int32
    stop: np.ndarray  # (R,) int32
    ends: np.ndarray  # (n + 1,) int64
    area: np.ndarray  # (n,) float64, in pixels
    box: np.ndarray  # (n, 4) int32: first and last column, first and last row


def decode(counts: np.ndarray, spans: np.ndarray, size: np.ndarray, kept: np.ndarray) -> Masks:
    """Masks from compressed RLEs; of those that are not ``kept`` (n,) the area alone.

    ``counts`` (bytes,) uint8, ``spans`` (n, 2) where those of each mask begin and end, ``size`` (n, 2) height and
    width. Raises ValueError for counts that do not fill their image.
    """
    n = len(spans)
    room = int((spans[:, 1] - spans[:, 0]).sum()) // 2 + n
    start, stop = np.empty((2, room), np.int32)
    masks = Masks(start, stop, np.zeros(n + 1, np.int64), np.empty(n), np.empty((n, 4), np.int32))
    whole = _decode(counts, spans, size, kept, masks)
    _enclose(masks, size)
    if not whole.all():
        raise ValueError(
            f"expected masks whose runs fill their image, found {(~whole).sum()} with damaged counts: write them again"
        )
    used = masks.ends[-1]
    return masks._replace(start=start[:used], stop=stop[:used])


def from_segmentations(segmentations: Sequence[Any], size: np.ndarray) -> Masks:
    """Masks of annotations: polygons, or RLEs compressed or not; ``size`` (n, 2) is that of their images.

    Raises ValueError for polygons that are not lists of finite numbers.
    """
    encoded = np.array([isinstance(one, dict) for one in segmentations], bool)
    pairs = zip(segmentations, size.tolist(), encoded.tolist(), strict=True)
    counts = [object_mask(one, *hw)["counts"] for one, hw, is_encoded in pairs if is_encoded]
    runs = [one.encode() if isinstance(one, str) else one for one in counts]
    spans = spans_between(np.cumsum([0, *map(len, runs)]))
    decoded = decode(np.frombuffer(b"".join(runs), np.uint8), spans, size[encoded], np.ones(len(runs), bool))
    polygons = [() if isinstance(one, dict) else one for one in segmentations]
    try:
        parts = list(chain.from_iterable(polygons))
        numbers = np.cumsum([0, *map(len, parts)])
        points = np.fromiter(chain.from_iterable(parts), np.float64, numbers[-1])
    except (TypeError, ValueError):
        points = np.array([np.nan])
    if not np.isfinite(points).all():
        raise ValueError("expected polygons as lists of finite numbers, found something else: mend the annotations")
    scaled = np.clip(_SCALE * points + 0.5, -(1 << 31), (1 << 31) - 1).astype(np.int64)
    filled = _fill(scaled, numbers, np.cumsum([0, *map(len, polygons)]), size, encoded, decoded)
    _enclose(filled, size)
    return filled


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
def _decode(counts: np.ndarray, spans: np.ndarray, size: np.ndarray, kept: np.ndarray, masks: Masks) -> np.ndarray:
    """COCO's encoding: five bits a character and a sign; from the third run on, the difference to the last but one."""
    start, stop, ends, area, _ = masks
    used = 0
    whole = np.ones(len(spans), np.bool_)
    for k in range(len(whole)):
        pixels = int(size[k, 0]) * int(size[k, 1])
        place, run, before, last, number, total = 0, 0, 0, 0, 0, 0
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
                if place + run > pixels:
                    whole[k] = False
                    break
                start[used], stop[used] = place, place + run
                used += 1
                total += run
            place += run
            number += 1
        if place != pixels:
            whole[k] = False
        area[k] = total
        used = ends[k + 1] = used if kept[k] else ends[k]
    return whole


@compiled
def _enclose(masks: Masks, size: np.ndarray) -> None:
    """Find the masks' boxes."""
    start, stop, ends, area, box = masks
    for k in range(len(area)):
        height = np.uint32(size[k, 0])  # divided by in half the time
        left, right, top, bottom = int(size[k, 1]), -1, int(height), -1
        for n in range(ends[k], ends[k + 1]):
            first, final = np.uint32(start[n]), np.uint32(stop[n] - 1)
            column, right = int(first // height), int(final // height)
            left = min(left, column)
            if column == right:
                top, bottom = min(top, int(first % height)), max(bottom, int(final % height))
            else:
                top, bottom = 0, int(height) - 1
        box[k, 0], box[k, 1], box[k, 2], box[k, 3] = left, right, top, bottom


@compiled
def _fill(
    points: np.ndarray, numbers: np.ndarray, parts: np.ndarray, size: np.ndarray, encoded: np.ndarray, decoded: Masks
) -> Masks:
    """The n masks of objects that are polygons, or ``encoded`` (n,) and so the next of ``decoded``.

    Numbers ``numbers[p]`` to ``numbers[p + 1]`` of ``points`` are x, y, x, y, ... of polygon p, in fifths of pixels;
    polygons ``parts[k]`` to ``parts[k + 1]`` are those of object k.
    """
    n = len(encoded)
    start, stop = np.empty((2, 1024), np.int32)
    ends, area, box = np.zeros(n + 1, np.int64), np.empty(n), np.empty((n, 4), np.int32)
    used, next_decoded = 0, 0
    for k in range(n):
        if encoded[k]:
            chosen = slice(decoded.ends[next_decoded], decoded.ends[next_decoded + 1])
            runs = np.stack((decoded.start[chosen], decoded.stop[chosen]), axis=1)
            next_decoded += 1
        else:
            runs = _union(points, numbers[parts[k] : parts[k + 1] + 1], size[k, 0], size[k, 1])
        behind = used + len(runs)
        if behind > len(start):
            more = np.empty(behind, np.int32)
            start, stop = np.concatenate((start, more)), np.concatenate((stop, more))
        start[used:behind], stop[used:behind] = runs[:, 0], runs[:, 1]
        area[k] = (runs[:, 1] - runs[:, 0]).sum()
        used = ends[k + 1] = behind
    return Masks(start[:used].copy(), stop[:used].copy(), ends, area, box)


@compiled
def _union(points: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """The intervals (m, 2) of pixels inside any of the polygons."""
    runs = np.empty((0, 2), np.int32)
    for p in range(len(numbers) - 1):
        runs = np.concatenate((runs, _inside(points[numbers[p] : numbers[p + 1]], height, width)))
    if len(numbers) > 2:
        runs = runs[np.argsort(runs[:, 0].copy())]
        used = 0
        for n in range(len(runs)):
            if used and runs[n, 0] <= runs[used - 1, 1]:
                runs[used - 1, 1] = max(runs[used - 1, 1], runs[n, 1])
            else:
                runs[used] = runs[n]
                used += 1
        runs = runs[:used]
    return runs


@compiled
def _inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The intervals (m, 2) of pixels inside a polygon, by the rule of COCO's API.

    The outline is drawn on a grid of fifths of pixels. Where it passes the middle of a column of pixels, what is below
    changes from outside to inside or back.
    """
    corners, room = len(points) // 2, 1
    for j in range(corners):
        across = abs(points[2 * j] - points[2 * ((j + 1) % corners)])
        room += min(across // _SCALE + 1, width)
    turns, used = np.empty(room, np.int32), 0
    for j in range(corners):
        end = 2 * ((j + 1) % corners)
        x, y, x_end, y_end = points[2 * j], points[2 * j + 1], points[end], points[end + 1]
        flat = abs(x_end - x) >= abs(y_end - y)
        if (x > x_end) if flat else (y > y_end):
            x, y, x_end, y_end = x_end, y_end, x, y
        left, right = min(x, x_end), max(x, x_end)
        if left < right:
            slope = (y_end - y) / (x_end - x) if flat else (x_end - x) / (y_end - y)
            for column in range(max((left + 2) // _SCALE, 0), min((right - 3) // _SCALE, width - 1) + 1):
                middle = _SCALE * column + 2  # between this and the next fifth
                if flat:
                    step = middle - x
                    upper = min(int(y + slope * step + 0.5), int(y + slope * (step + 1) + 0.5))
                else:
                    step = int((middle + 0.5 - x) / slope)
                    while step > 0 and (int(x + slope * step + 0.5) > middle) == (slope > 0):
                        step -= 1
                    while (int(x + slope * step + 0.5) > middle) != (slope > 0):
                        step += 1
                    upper = y + step - 1
                turns[used] = column * height + min(max((upper + 2) // _SCALE, 0), height)
                used += 1
    turns[:used].sort()
    kept = 0
    for n in range(used):
        if kept and turns[kept - 1] == turns[n]:  # passed twice: as it was
            kept -= 1
        else:
            turns[kept] = turns[n]
            kept += 1
    if kept % 2:
        turns[kept] = width * height
        kept += 1 if turns[kept - 1] < width * height else -1
    return turns[:kept].copy().reshape(-1, 2)


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
