"""Annotations in the LVIS v1 format (https://www.lvisdataset.org/dataset)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

if TYPE_CHECKING:
    from gumbel.datasets.mini.pictures import Thing

#: The prefix that mmdet's LVISV1Dataset strips to find a file.
URL_PREFIX = "http://images.cocodataset.org/"
_ENLARGE = 4
_MIN_AREA = 4.0  # pixels; smaller fragments of a mask are noise


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Trace an (H, W) bool mask into polygons, a flat list ``[x, y, x, y, ...]`` in pixels each.

    OpenCV's contours pass through pixel centres and lose half a pixel all around; on a nearest-neighbour
    enlargement they lose an eighth. Holes are filled, as LVIS polygons have none.
    """
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    crop = mask[y : y + height, x : x + width].astype(np.uint8)
    large = cv2.resize(crop, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    # Simplifying by at most half a pixel turns staircases into edges.
    simple = [cv2.approxPolyDP(contour, _ENLARGE / 2, closed=True) for contour in contours]
    kept = [contour for contour in simple if cv2.contourArea(contour) >= _MIN_AREA * _ENLARGE**2]
    return [((contour.reshape(-1, 2) + 0.5) / _ENLARGE + (x, y)).round(2).ravel().tolist() for contour in kept]


def annotation(mask: np.ndarray) -> dict[str, Any]:
    """Return ``segmentation``, ``area`` and ``bbox`` of an (H, W) bool mask.

    Area and box are those of the polygons as pycocotools encodes them, so that an evaluator sees the same.
    """
    segmentation = polygons(mask)
    if not segmentation:
        raise ValueError(f"expected a mask of at least {_MIN_AREA:.0f} pixels in one piece, found {mask.sum()} pixels")
    rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, *mask.shape))
    return {
        "segmentation": segmentation,
        "area": float(coco_mask.area(rle)),
        "bbox": coco_mask.toBbox(rle).tolist(),
    }


def frequency(images: int, rare: int = 10, common: int = 100) -> str:
    """Return the frequency group of a category seen in this many training images; by default, LVIS's.

    >>> [frequency(images) for images in (1, 10, 11, 100, 101)]
    ['r', 'r', 'c', 'c', 'f']
    """
    return "r" if images <= rare else "c" if images <= common else "f"


def count(annotations: Iterable[Mapping[str, Any]]) -> tuple[Counter[int], Counter[int]]:
    """Return images and instances per category id."""
    annotations = list(annotations)
    images = Counter(category for category, _ in {(a["category_id"], a["image_id"]) for a in annotations})
    return images, Counter(a["category_id"] for a in annotations)


def categories(things: "Iterable[Thing]", annotations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ``categories`` list, sorted by id as evaluators sort it, counted on these (training) annotations."""
    images, instances = count(annotations)
    return [
        {
            "id": thing.id,
            "name": thing.name,
            "synset": thing.synset,
            "synonyms": [thing.name],
            "def": f"shown by emoji {thing.hexcode}",
            "image_count": images[thing.id],
            "instance_count": instances[thing.id],
            "frequency": frequency(images[thing.id]),
        }
        for thing in sorted(things, key=lambda thing: thing.id)
    ]


def image(
    image_id: int, split: str, side: int, negatives: Iterable[int], not_exhaustive: Iterable[int]
) -> dict[str, Any]:
    """Return an ``images`` entry; the file is ``images/<split>/<id, twelve digits>.png``."""
    return {
        "id": image_id,
        "width": side,
        "height": side,
        "coco_url": f"{URL_PREFIX}{split}/{image_id:012d}.png",
        "flickr_url": "",
        "license": 1,
        "date_captured": "",
        "neg_category_ids": sorted(negatives),
        "not_exhaustive_category_ids": sorted(not_exhaustive),
    }
