"""Masks as LVIS annotates them, polygons or RLEs: from the text of a JSON file to runs of pixels."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pycocotools import mask as coco_mask

from gumbel.datasets.entries import Length
from gumbel.evaluation.compiled import compiled
from gumbel.evaluation.masks import Masks, decode, enclose
from gumbel.evaluation.predictions import spans_between

_SCALE = 5  # fifths of pixels, on which COCO's API draws polygons
_BLOCK = 4096  # polygons whose text is read at a time
_LEAST = 6  # numbers of a polygon


class Rle(msgspec.Struct, gc=False):
    """Runs of pixels, compressed or not, of an image of this height and width."""

    size: tuple[Length, Length]
    counts: str | list[Length]


#: The text of each polygon, or an RLE.
Segmentation = list[msgspec.Raw] | Rle


class Segmentations(NamedTuple):
    """The masks of G objects: P polygons, and RLEs."""

    points: np.ndarray  # (N,) int32: x, y, x, y, ... of all polygons, in fifths of pixels
    numbers: np.ndarray  # (P + 1,) where those of each polygon begin, and N
    parts: np.ndarray  # (G + 1,) where the polygons of each object begin, and P; an RLE has none
    counts: np.ndarray  # (bytes,) uint8: compressed RLEs
    spans: np.ndarray  # (G, 2) where those of each object begin and end

    def fill(self, places: np.ndarray, size: np.ndarray) -> Masks:
        """The masks of the objects at ``places`` (n,), in images of ``size`` (n, 2)."""
        encoded = self.parts[places] == self.parts[places + 1]
        decoded = decode(self.counts, self.spans[places[encoded]], size[encoded], np.ones(encoded.sum(), bool))
        filled = Masks(*_fill(*self[:3], places, size, decoded.start, decoded.stop, decoded.ends))
        enclose(filled, size)
        return filled


def read_segmentations(segmentations: Sequence[Segmentation]) -> Segmentations:
    """Those of G objects.

    Raises ValueError for polygons that are not lists of finite numbers, and where the first has less than three points.
    """
    drawn = np.array([isinstance(one, list) for one in segmentations], bool)
    polygons = [one if isinstance(one, list) else [] for one in segmentations]
    runs = [_compressed(one) if isinstance(one, Rle) else b"" for one in segmentations]
    every = list(chain.from_iterable(polygons))
    blocks = [_read(every[n : n + _BLOCK]) for n in range(0, len(every), _BLOCK)] or [_read([])]
    points, lengths = map(np.concatenate, zip(*blocks, strict=True))
    parts = np.cumsum([0, *map(len, polygons)])
    first, behind = parts[:-1][drawn], parts[1:][drawn]
    if (first == behind).any() or (lengths[first] < _LEAST).any():
        raise ValueError("expected polygons of at least three points, found none or fewer points")
    return Segmentations(
        points=points,
        numbers=np.concatenate(([0], np.cumsum(lengths))),
        parts=parts,
        counts=np.frombuffer(b"".join(runs), np.uint8),
        spans=spans_between(np.cumsum([0, *map(len, runs)])),
    )


def _compressed(rle: Rle) -> bytes:
    counts = object_mask(msgspec.structs.asdict(rle), *rle.size)["counts"]
    return counts.encode() if isinstance(counts, str) else counts


def _read(polygons: Sequence[msgspec.Raw]) -> tuple[np.ndarray, np.ndarray]:
    """The numbers (N,) of polygons, in fifths of pixels, and how many each has (P,)."""
    if not polygons:
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    texts = [memoryview(polygon) for polygon in polygons]
    text = b",".join(one[1:-1] for one in texts)
    commas = np.flatnonzero(np.frombuffer(text, np.uint8) == ord(","))
    first = np.searchsorted(commas, np.cumsum([0, *(len(one) - 1 for one in texts[:-1])]))
    numbers = pa.LargeStringArray.from_buffers(
        len(commas) + 1,
        pa.py_buffer(np.concatenate(([0], commas, [len(text)]))),
        pa.py_buffer(text.replace(b",", b" ")),
    )
    try:
        points: np.ndarray = np.from_dlpack(pc.ascii_trim_whitespace(numbers).cast(pa.float64()))
    except pa.ArrowInvalid:
        points = np.array([np.nan])
    if not np.isfinite(points).all() or any(one[0] != ord("[") for one in texts):
        raise ValueError("expected polygons as lists of finite numbers, found something else")
    scaled = np.clip(_SCALE * points + 0.5, -(1 << 31), (1 << 31) - 1).astype(np.int32)
    return scaled, np.diff(first, append=len(points))


def object_mask(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons, or an RLE compressed or not, as a compressed RLE."""
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return segmentation
    parts = coco_mask.frPyObjects(segmentation, height, width)
    if not isinstance(parts, list):
        return parts
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


@compiled
def _fill(
    points: np.ndarray,
    numbers: np.ndarray,
    parts: np.ndarray,
    places: np.ndarray,
    size: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    bounds: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What :class:`Masks` has of the objects at ``places``, boxes left empty.

    Those without polygons are, in order, the intervals ``bounds[k]`` to ``bounds[k + 1]`` of ``starts`` and ``stops``.
    """
    n, decoded = len(places), 0
    start, stop = np.empty((2, 1024), np.int32)
    ends, area, box = np.zeros(n + 1, np.int64), np.empty(n), np.empty((n, 4), np.int32)
    used = 0
    for k in range(n):
        first, last = parts[places[k]], parts[places[k] + 1]
        if first == last:
            chosen = slice(bounds[decoded], bounds[decoded + 1])
            runs = np.stack((starts[chosen], stops[chosen]), axis=1)
            decoded += 1
        else:
            runs = _union(points, numbers[first : last + 1], size[k, 0], size[k, 1])
        behind = used + len(runs)
        if behind > len(start):
            more = np.empty(behind, np.int32)
            start, stop = np.concatenate((start, more)), np.concatenate((stop, more))
        start[used:behind], stop[used:behind] = runs[:, 0], runs[:, 1]
        area[k] = (runs[:, 1] - runs[:, 0]).sum()
        used = ends[k + 1] = behind
    return start[:used].copy(), stop[:used].copy(), ends, area, box


@compiled
def _union(points: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """The intervals (m, 2) of pixels inside any of the polygons."""
    runs = np.empty((0, 2), np.int32)
    for p in range(len(numbers) - 1):
        runs = np.concatenate((runs, _inside(points[numbers[p] : numbers[p + 1]].astype(np.int64), height, width)))
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
