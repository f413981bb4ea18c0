"""A part of the training images in which every category keeps its place in the tail."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Mapping
from pathlib import Path
from typing import Any

from gumbel.datasets.entries import stream_annotations
from gumbel.jobs.files import atomic_path

#: Where the entries of a list name their image.
IMAGE_ID = {"images": "id", "annotations": "image_id"}
_FIELDS = {"images": ("id",), "annotations": ("image_id", "category_id"), "categories": ("id", "frequency")}


def write_subset(annotations: Path, per_category: int, output: Path) -> dict[str, int]:
    """Write the images of ``annotations`` (LVIS v1) that :func:`choose` keeps, with all that is annotated in them.

    Categories keep their ``frequency`` and get the counts of the subset. The file is read twice, entry by entry, and
    never held whole. Returns the number of images, annotations and categories shown.
    """
    instances: dict[int, Counter[int]] = defaultdict(Counter)  # of a category, by image
    for key, entry in stream_annotations(annotations, _FIELDS):
        if key == "annotations":
            instances[entry["category_id"]][entry["image_id"]] += 1
    kept = choose(instances, per_category)
    shown: dict[int, Counter[int]] = {
        category: Counter({image: count for image, count in images.items() if image in kept})
        for category, images in instances.items()
    }

    def counted(category: dict[str, Any]) -> dict[str, Any]:
        images = shown.get(category["id"], Counter())
        return category | {"image_count": len(images), "instance_count": images.total()}

    write_images(
        annotations, kept, output, f"images of {annotations.name} that a category keeps, {per_category} each", counted
    )
    return {
        "images": len(kept),
        "annotations": sum(count.total() for count in shown.values()),
        "categories": len(shown),
    }


def write_images(
    annotations: Path,
    kept: Container[int],
    output: Path,
    description: str,
    category: Callable[[dict[str, Any]], dict[str, Any]] = lambda entry: entry,
) -> None:
    """Write the images ``kept`` of ``annotations`` with all that is annotated in them, read entry by entry.

    ``category`` makes of an entry of the categories what is written.
    """
    with atomic_path(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps({"description": description})}')
        last = None
        for key, entry in stream_annotations(annotations, {}):
            if key in IMAGE_ID and entry[IMAGE_ID[key]] not in kept:
                continue
            file.write(f'{"" if last is None else "]"}, "{key}": [\n' if key != last else ",\n")
            file.write(json.dumps(category(entry) if key == "categories" else entry))
            last = key
        file.write("]}\n" if last else "}\n")


def choose(images: Mapping[int, Collection[int]], per_category: int) -> set[int]:
    """Ids of the images kept, given those that show each category.

    Each category keeps the first ``per_category`` of its images in the order of :func:`rank`, or all where it has no
    more; an image stays if any of its categories keeps it. So no category sinks below ``per_category`` images unless
    it was there before, and those below it lose nothing.

    >>> sorted(choose({1: [10, 11, 12], 2: [12]}, 1))
    [10, 12]
    """
    return {image for shown in images.values() for image in sorted(shown, key=rank)[:per_category]}


def rank(image: int) -> str:
    """Place of an image in the order of the choice: SHA-256 of its id in decimal digits, in hexadecimal."""
    return hashlib.sha256(str(image).encode()).hexdigest()
