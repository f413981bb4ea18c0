"""LVIS annotations, checked before anything is scored against them."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

FREQUENCIES = ("r", "c", "f")
_IMAGE = ("id", "height", "width", "neg_category_ids", "not_exhaustive_category_ids")
_CATEGORY = ("id", "name", "frequency")
_ANNOTATION = ("id", "image_id", "category_id", "bbox", "area", "segmentation")


@dataclass(frozen=True)
class GroundTruth:
    """What the evaluators read of an LVIS v1 file, images and categories sorted by id.

    ``annotations`` maps an image id to its annotations, without those of zero area: the official API
    drops them.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]

    @property
    def category_ids(self) -> np.ndarray:
        """LVIS ids of the K categories, ascending."""
        return np.array([category["id"] for category in self.categories], dtype=np.int64)

    @property
    def frequencies(self) -> np.ndarray:
        """Frequency group of the K categories: r, c or f."""
        return np.array([category["frequency"] for category in self.categories])

    def counts(self) -> np.ndarray:
        """Annotations of each of the K categories."""
        present = [annotation["category_id"] for group in self.annotations.values() for annotation in group]
        ids, numbers = np.unique(np.array(present, dtype=np.int64), return_counts=True)
        counts = np.zeros(len(self.categories), dtype=np.int64)
        counts[np.searchsorted(self.category_ids, ids)] = numbers
        return counts


def read_ground_truth(path: Path) -> GroundTruth:
    """Read and check an LVIS v1 annotation file (https://www.lvisdataset.org/dataset).

    Raises ValueError where the evaluators would go on in silence: a missing frequency or federated list,
    repeated or unknown ids, and fields that LVIS does not have and evaluators read differently.
    """
    path = Path(path)
    try:
        record = orjson.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"expected LVIS v1 annotations, found no valid JSON in {path} ({error})") from error
    if not isinstance(record, dict) or any(key not in record for key in ("images", "annotations", "categories")):
        raise ValueError(
            f"expected LVIS v1 annotations with images, annotations and categories, found another file in {path}"
        )
    if not record["images"]:
        raise ValueError(f"expected images in the annotations, found none in {path}")
    images = _entries(record["images"], _IMAGE, f"image of {path}")
    categories = _entries(
        record["categories"], (*_CATEGORY, "image_count"), f"category of {path}", optional="image_count"
    )
    annotations = _entries(record["annotations"], _ANNOTATION, f"annotation of {path}", banned="ignore")
    _check_ids(images, categories, annotations, path)
    by_image = defaultdict(list)
    for annotation in annotations:
        if annotation["area"] > 0:
            _check_shape(annotation, path)
            by_image[annotation["image_id"]].append(annotation)
    return GroundTruth(images, categories, dict(by_image))


def _entries(
    entries: list[dict[str, Any]], keys: tuple[str, ...], what: str, optional: str = "", banned: str = ""
) -> list[dict[str, Any]]:
    """The named fields of ``entries``, sorted by id."""
    for entry in entries:
        missing = [key for key in keys if key not in entry and key != optional]
        if missing:
            raise ValueError(
                f"expected {missing} in every {what}, found none in {entry.get('id')}: use LVIS v1 annotations"
            )
        if entry.get(banned):
            raise ValueError(
                f"expected no `{banned}` in any {what}, found it in {entry['id']}: LVIS has no such field, remove it"
            )
    chosen = [{key: entry[key] for key in keys if key in entry} for entry in entries]
    return sorted(chosen, key=lambda entry: entry["id"])


def _check_shape(annotation: dict[str, Any], path: Path) -> None:
    """Refuse what the official API fails on with another message."""
    shape = annotation["segmentation"]
    if not (isinstance(shape, dict) or (isinstance(shape, list) and shape and _is_polygon(shape[0]))):
        raise ValueError(
            f"expected an RLE or polygons of at least three points as `segmentation`, found another form in annotation "
            f"{annotation['id']} of {path}"
        )


def _is_polygon(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 6


def _check_ids(
    images: list[dict[str, Any]], categories: list[dict[str, Any]], annotations: list[dict[str, Any]], path: Path
) -> None:
    for what, entries in (("image", images), ("category", categories), ("annotation", annotations)):
        if len({entry["id"] for entry in entries}) < len(entries):
            raise ValueError(f"expected every {what} id once, found repeated ids in {path}")
    image_ids, category_ids = ({entry["id"] for entry in entries} for entries in (images, categories))
    for category in categories:
        if category["frequency"] not in FREQUENCIES:
            raise ValueError(
                f"expected a frequency of r, c or f, found {category['frequency']!r} in category {category['id']} "
                f"of {path}: use LVIS v1 annotations"
            )
    for image in images:
        unknown = {*image["neg_category_ids"], *image["not_exhaustive_category_ids"]} - category_ids
        if unknown:
            raise ValueError(
                f"expected known categories in the lists of image {image['id']} of {path}, found {sorted(unknown)}"
            )
    for annotation in annotations:
        if annotation["id"] < 1:
            raise ValueError(
                f"expected annotation ids from 1 (0 means unmatched to the official API), found {annotation['id']} "
                f"in {path}: number them anew"
            )
        if annotation["image_id"] not in image_ids or annotation["category_id"] not in category_ids:
            raise ValueError(
                f"expected known image and category ids, found others in annotation {annotation['id']} of {path}"
            )
