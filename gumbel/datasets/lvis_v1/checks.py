"""Whether annotations and pictures are LVIS v1's, whole and uncut."""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gumbel.datasets.annotations import URL_PREFIX
from gumbel.datasets.entries import stream_annotations
from gumbel.jobs import manifest

Rows = list[dict[str, str]]
_IDENTITY = ("id", "name", "frequency")
_FIELDS = {
    "images": ("coco_url", "width", "height"),
    "annotations": ("image_id", "category_id"),
    "categories": _IDENTITY,
}


def check_annotations(
    path: Path, images: int, annotations: int, categories: Rows, counted: bool
) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """Compare an LVIS v1 file with its published counts and categories; the file is streamed.

    ``counted``: whether the counts of ``categories``, which are the training split's, are this file's. Returns what was
    seen (file, bytes, sha256, images, annotations, categories, frequencies) and width and height of each picture
    by its name, such as ``train2017/000000000009.jpg``.

    Raises:
        ValueError: a count or a category differs, or the file is damaged.
    """
    pictures, found, image_ids, category_ids = _scan(path)
    compared = [("images", images, len(pictures)), ("annotations", annotations, len(category_ids))]
    problems = _differences([*compared, ("categories", len(categories), len(found))])
    wanted = [{name: row[name] for name in _IDENTITY} for row in categories]
    pairs = zip(wanted, found, strict=False)
    problems += [f"expected category {one}, found {other}" for one, other in pairs if one != other]
    if counted and not problems:
        problems = _differences(_counts(categories, image_ids, category_ids))
    if problems:
        raise ValueError(
            f"expected LVIS v1 as published in {path}; found a difference:\n  " + "\n  ".join(problems[:5]) + "\n"
            "Remove the file to have it downloaded, or let data_root name a whole copy"
        )
    letters = Counter(row["frequency"] for row in found)
    seen = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": manifest.sha256(path),
        "images": len(pictures),
        "annotations": len(category_ids),
        "categories": len(found),
        "frequencies": {letter: letters[letter] for letter in "rcf"},
    }
    return seen, pictures


def _scan(path: Path) -> tuple[dict[str, tuple[int, int]], Rows, np.ndarray, np.ndarray]:
    """Sizes of pictures by name, categories sorted by id, and image and category id of each annotation."""
    pictures: dict[str, tuple[int, int]] = {}
    found: Rows = []
    image_ids, category_ids = array("q"), array("q")
    for key, entry in stream_annotations(path, _FIELDS):
        if key == "annotations":
            image_ids.append(entry["image_id"])
            category_ids.append(entry["category_id"])
        elif key == "images":
            pictures[entry["coco_url"].removeprefix(URL_PREFIX)] = entry["width"], entry["height"]
        elif key == "categories":
            found.append({name: str(entry[name]) for name in _IDENTITY})
    found.sort(key=lambda row: int(row["id"]))
    return pictures, found, np.array(image_ids, dtype=np.int64), np.array(category_ids, dtype=np.int64)


def _differences(compared: Iterable[tuple[str, int, int]]) -> list[str]:
    return [f"expected {expected} {what}, found {found}" for what, expected, found in compared if expected != found]


def _counts(categories: Rows, image_ids: np.ndarray, category_ids: np.ndarray) -> Iterator[tuple[str, int, int]]:
    """Instances of each category, and images that show it: as published, and as they are."""
    shown = pd.Series(image_ids).groupby(category_ids).agg(["size", "nunique"])
    counts = shown.reindex([int(row["id"]) for row in categories], fill_value=0)
    for row, instances, images in zip(categories, counts["size"], counts["nunique"], strict=True):
        yield f"annotations of {row['name']}", int(row["instance_count"]), instances
        yield f"images with {row['name']}", int(row["image_count"]), images


def check_pictures(named: Iterable[str], folders: Mapping[str, Path]) -> dict[str, int]:
    """Look for every picture that annotations name; return how many there are in each folder.

    Raises:
        ValueError: pictures are missing or empty, as after an interrupted copy.
    """
    there = {
        f"{member}/{entry.name}"
        for member, folder in folders.items()
        for entry in os.scandir(folder)
        if entry.stat().st_size > 0
    }
    named = set(named)
    if missing := sorted(named - there):
        raise ValueError(
            f"expected {len(named)} pictures in {', '.join(map(str, folders.values()))}; {len(missing)} are missing or "
            f"empty, {missing[0]} for one. Complete the copy, or remove a folder to have it downloaded"
        )
    return {member: sum(name.startswith(f"{member}/") for name in named) for member in folders}
