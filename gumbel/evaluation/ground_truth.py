"""LVIS annotations, checked before anything is scored against them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gumbel.datasets.entries import LVIS, Box, Id, Record, brief, check_entries, check_ids, is_id, read_annotations
from gumbel.datasets.json_stream import read_json
from gumbel.evaluation.segmentations import Segmentation, Segmentations, read_segmentations

_FIELDS = {
    "images": ("id", "height", "width", "neg_category_ids", "not_exhaustive_category_ids"),
    "categories": ("id", "name", "frequency"),
    "annotations": ("id", "image_id", "category_id", "area", "bbox", "segmentation"),
}


class Annotation(msgspec.Struct, gc=False, omit_defaults=True):
    """An object as LVIS v1 annotates it."""

    id: Id
    image_id: Id
    category_id: Id
    area: float
    bbox: Box
    segmentation: Segmentation
    ignore: Any = None


class _File(msgspec.Struct):
    images: list[Any]
    categories: list[Any]
    annotations: list[Annotation]


class Objects(NamedTuple):
    """G annotated objects by image, then id; images and categories are indices in the order of their ids."""

    image: np.ndarray  # (G,) int32
    category: np.ndarray  # (G,) int32
    area: np.ndarray  # (G,) float64, in pixels, as annotated
    box: np.ndarray  # (G, 4) float64: x, y, width, height in pixels

    def take(self, places: np.ndarray) -> "Objects":
        """Those at ``places``."""
        return Objects(*[column[places] for column in self])


@dataclass(frozen=True)
class GroundTruth:
    """What the evaluators read of an LVIS v1 file, I images and K categories sorted by id.

    ``annotations`` are by image, then id, without those of zero area: the official API drops them. ``segmentations``
    are theirs. ``other_images`` are the ids of images that are in the file and were not asked for.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    annotations: list[Annotation]
    segmentations: Segmentations
    other_images: np.ndarray

    @cached_property
    def image_ids(self) -> np.ndarray:
        """LVIS ids of the I images, ascending."""
        return np.array([image["id"] for image in self.images], dtype=np.int64)

    @cached_property
    def category_ids(self) -> np.ndarray:
        """LVIS ids of the K categories, ascending."""
        return np.array([category["id"] for category in self.categories], dtype=np.int64)

    @cached_property
    def frequencies(self) -> np.ndarray:
        """Frequency group of the K categories: r, c or f."""
        return np.array([category["frequency"] for category in self.categories])

    @cached_property
    def sizes(self) -> np.ndarray:
        """Height and width of the images, (I, 2)."""
        return np.array([(image["height"], image["width"]) for image in self.images], dtype=np.int32)

    @cached_property
    def objects(self) -> Objects:
        """The annotations in columns."""
        image, category, area, box = (
            list(map(attrgetter(name), self.annotations)) for name in ("image_id", "category_id", "area", "bbox")
        )
        return Objects(
            np.searchsorted(self.image_ids, image).astype(np.int32),
            np.searchsorted(self.category_ids, category).astype(np.int32),
            np.array(area, dtype=np.float64),
            np.fromiter(chain.from_iterable(box), np.float64, 4 * len(box)).reshape(-1, 4),
        )

    def listed(self, name: str) -> np.ndarray:
        """Which categories the image's list ``name`` holds, (I, K) of bool."""
        table = np.zeros((len(self.images), len(self.categories)), bool)
        pairs = [(row, category) for row, image in enumerate(self.images) for category in image[name]]
        rows, categories = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        table[rows, np.searchsorted(self.category_ids, categories)] = True
        return table


def read_ground_truth(path: Path, images: Path | None = None) -> GroundTruth:
    """Read and check an LVIS v1 annotation file (https://www.lvisdataset.org/dataset).

    ``images`` is a JSON list of ids, or a JSON file with ``images``, that are scored alone, as for LVIS minival.
    Raises ValueError where the evaluators would go on in silence: a missing frequency or federated list,
    repeated or unknown ids, and fields that LVIS does not have and evaluators read differently.
    """
    path = Path(path)
    record = _read(path)
    for key in ("images", "categories"):
        if not getattr(record, key):
            raise ValueError(f"expected {key} in the annotations, found none in {path}")
    entries, categories = (sorted(each, key=itemgetter("id")) for each in (record.images, record.categories))
    annotations = sorted(record.annotations, key=attrgetter("id"))
    _check(entries, categories, annotations, path)
    every = {entry["id"] for entry in entries}
    asked = every if images is None else _asked(images, every)
    scored = [entry for entry in annotations if entry.area > 0 and entry.image_id in asked]
    scored.sort(key=attrgetter("image_id"))
    return GroundTruth(
        images=[entry for entry in entries if entry["id"] in asked],
        categories=categories,
        annotations=scored,
        segmentations=_segmentations(scored, path),
        other_images=np.array(sorted(every - asked), dtype=np.int64),
    )


def _read(path: Path) -> _File:
    """The file, whose annotations are checked while they are decoded."""
    try:
        record: _File = read_json(path, LVIS, _File)
    except ValueError:
        read_annotations(path, _FIELDS)  # slower: says what is wrong with the first entry that is
        raise
    for key in ("images", "categories"):
        check_entries(getattr(record, key), key, _FIELDS[key], path)
    check_ids([entry.id for entry in record.annotations], "annotations", path)
    return record


def _segmentations(annotations: list[Annotation], path: Path) -> Segmentations:
    try:
        return read_segmentations([entry.segmentation for entry in annotations])
    except ValueError:
        for entry in annotations if len(annotations) > 1 else ():
            _segmentations([entry], path)
        raise ValueError(
            f"expected an RLE, or polygons of at least three points as lists of finite numbers, as `segmentation`, "
            f"found another form in annotation {annotations[0].id} of {path}: correct the file"
        ) from None


def _asked(path: Path, known: set[int]) -> set[int]:
    """The ids that a list of images names; ValueError for none, or for unknown ones."""
    expected = "a list of image ids, or annotations"
    record = read_json(path, expected)
    if isinstance(record, dict):
        record = [entry["id"] for entry in read_annotations(path, {"images": ("id",)}, expected)["images"]]
    if type(record) is not list or not all(map(is_id, record)):
        raise ValueError(f"expected {expected} in {path}, found {brief(record)}: name images by their ids")
    ids = set(record)
    if not ids or ids - known:
        raise ValueError(
            f"expected ids of images of the annotations in {path}, found {len(ids)} ids, {len(ids - known)} of them "
            "unknown: give the list for these annotations"
        )
    return ids


def _check(images: list[Record], categories: list[Record], annotations: list[Annotation], path: Path) -> None:
    image_ids, category_ids = ({entry["id"] for entry in entries} for entries in (images, categories))
    for image in images:
        unknown = {*image["neg_category_ids"], *image["not_exhaustive_category_ids"]} - category_ids
        if unknown:
            raise ValueError(
                f"expected known categories in the lists of image {image['id']} of {path}, found {sorted(unknown)}"
            )
    for annotation in annotations:
        if annotation.ignore:
            raise ValueError(
                f"expected no `ignore` in any annotation of {path}, found it in {annotation.id}: LVIS has no such "
                "field, remove it"
            )
        if annotation.id < 1:
            raise ValueError(
                f"expected annotation ids from 1 (0 means unmatched to the official API), found {annotation.id} "
                f"in {path}: number them anew"
            )
        if annotation.image_id not in image_ids or annotation.category_id not in category_ids:
            raise ValueError(
                f"expected known image and category ids, found others in annotation {annotation.id} of {path}"
            )
