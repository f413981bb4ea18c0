"""Masks as runs of pixels: decoded from COCO's compressed RLE, and reduced to their boundary.

A mask is kept as the intervals [start, stop) of its pixels, which are numbered down the columns from the left. All
masks of a :class:`Masks` lie one after the other in two arrays, so that compiled loops need no Python objects.
"""

from typing import NamedTuple

import numpy as np

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
    enclose(masks, size)
    if not whole.all():
        raise ValueError(
            f"expected masks whose runs fill their image, found {(~whole).sum()} with damaged counts: write them again"
        )
    used = masks.ends[-1]
    return masks._replace(start=start[:used], stop=stop[:used])


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
        place, before, last, number, total = 0, 0, 0, 0, 0
        at, end = spans[k]
        while at < end:
            piece = int(counts[at]) - 48
            at += 1
            run, sign = piece & 31, 16
            while piece & 32 and at < end and sign < 1 << 59:
                piece = int(counts[at]) - 48
                at += 1
                sign <<= 5
                run |= (piece & 31) * (sign >> 4)
            run = (run ^ sign) - sign
            if number > 2:
                run += before
            if piece & 32 or run < 0 or place + run > pixels:
                whole[k] = False
                break
            before, last = last, run
            if number & 1 and run > 0:
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
def enclose(masks: Masks, size: np.ndarray) -> None:
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
