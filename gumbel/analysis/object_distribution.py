"""How likely an object of a class is at a location: the paper's imbalanced object distribution.

The poster lets obj be the occurrence of an object and u its location in the normalised grid. Here an image
scaled to the unit square is cut into ``grid`` x ``grid`` cells, and class k occurs at u when the centre of
the box of at least one object of class k lies in u. p(obj = k, u) is the share of the data set's images, all
of them, in which it does. The centre puts an object into exactly one cell, whatever its size.

A class's expected value is the mean of p over the cells, E_u[p(obj = k, u)]: it falls with the class's rarity
(class imbalance) and with the number of cells that an object leaves empty (location imbalance).
"""

from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gumbel.datasets.entries import stream_annotations
from gumbel.evaluation.metrics import mean
from gumbel.jobs.files import atomic_path

Distribution = dict[str, np.ndarray]

FREQUENCIES = {"rare": "r", "common": "c", "frequent": "f"}
_FIELDS = {
    "images": ("id", "width", "height"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "frequency"),
}
_KEYS = (
    "category_id",
    "frequency",
    "image_count",
    "image_probability",
    "probability",
    "expected",
    "location_entropy",
    "images",
)


def object_distribution(annotations: Path, grid: int) -> Distribution:
    """Count an LVIS v1 annotation file on a ``grid`` x ``grid`` map; the file is streamed.

    For K categories in the order of ids, returns the arrays category_id (K,), frequency (K,) of r, c or f,
    image_count (K,) counted in this file, image_probability (K,) = image_count / images, probability
    (K, grid, grid) indexed by row then column, expected (K,) its mean over cells, location_entropy (K,) from
    0 (one cell) to 1 (all cells alike; NaN without objects), and images () their number. Raises ValueError
    for a file without categories, images and frequencies, or with boxes outside the known ones.
    """
    categories, sizes, objects = _scan(annotations)
    ids = np.array(sorted(categories), dtype=np.int64)
    image = pd.Index(list(sizes)).get_indexer(pd.Index(objects["image"]))
    category = pd.Index(ids).get_indexer(pd.Index(objects["category"]))
    if min(image.min(initial=0), category.min(initial=0)) < 0:
        raise ValueError(
            f"expected every annotation of {annotations} in a known image and category, found others: use LVIS v1"
        )
    size = np.array(list(sizes.values()), dtype=np.float64)[image]
    cell = _cell(objects["y"] / size[:, 1], grid) * grid + _cell(objects["x"] / size[:, 0], grid)
    cells = grid * grid
    occurrences = np.unique((image * len(ids) + category) * cells + cell)  # an image counts once a class and cell
    pairs = np.unique(occurrences // cells)
    count = np.bincount(occurrences % (len(ids) * cells), minlength=len(ids) * cells).reshape(len(ids), cells)
    image_count = np.bincount(pairs % len(ids), minlength=len(ids))
    probability = count / len(sizes)
    return {
        "category_id": ids,
        "frequency": np.array([categories[key] for key in ids.tolist()]),
        "image_count": image_count,
        "image_probability": image_count / len(sizes),
        "probability": probability.reshape(-1, grid, grid),
        "expected": probability.mean(axis=1),
        "location_entropy": normalised_entropy(count),
        "images": np.array(len(sizes)),
    }


def _scan(path: Path) -> tuple[dict[int, str], dict[int, tuple[float, float]], dict[str, np.ndarray]]:
    """Frequency by category, (width, height) by image, and columns of image, category and box centre in pixels."""
    categories: dict[int, str] = {}
    sizes: dict[int, tuple[float, float]] = {}
    objects: dict[str, array] = {"image": array("q"), "category": array("q"), "x": array("d"), "y": array("d")}
    for key, entry in stream_annotations(path, _FIELDS):
        if key == "annotations":
            x, y, width, height = entry["bbox"]
            objects["image"].append(entry["image_id"])
            objects["category"].append(entry["category_id"])
            objects["x"].append(x + width / 2)
            objects["y"].append(y + height / 2)
        elif key == "images":
            sizes[entry["id"]] = (entry["width"], entry["height"])
        elif key == "categories":
            categories[entry["id"]] = entry["frequency"]
    return categories, sizes, {key: np.array(values, values.typecode) for key, values in objects.items()}


def _cell(position: np.ndarray, grid: int) -> np.ndarray:
    """Cell of positions in [0, 1]; centres that rounding puts outside go to the border."""
    return np.clip((position * grid).astype(np.int64), 0, grid - 1)


def normalised_entropy(counts: np.ndarray) -> np.ndarray:
    """Entropy over the last axis of ``counts`` (..., n), divided by log n; NaN where all are zero.

    >>> normalised_entropy(np.array([[1, 1], [2, 0], [0, 0]])).tolist()
    [1.0, 0.0, nan]
    """
    total = counts.sum(axis=-1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=-1) / np.log(counts.shape[-1]) + 0.0


def group_statistics(distribution: Distribution) -> dict[str, dict[str, float]]:
    """For rare, common and frequent classes, and all, means over the classes of the group (NaN if it is empty).

    expected: E_u[p]; largest: the most likely cell's p; image_probability: share of images with the class;
    location_entropy; categories: their number. ``all`` also has class_imbalance, one minus the normalised
    entropy of the image counts over classes: 0 when all classes are equally common.
    """
    frequency = distribution["frequency"]
    groups = {name: frequency == letter for name, letter in FREQUENCIES.items()}
    groups["all"] = np.ones(len(frequency), bool)
    statistics = {name: _group(distribution, chosen) for name, chosen in groups.items()}
    statistics["all"]["class_imbalance"] = float(1 - normalised_entropy(distribution["image_count"]))
    return statistics


def _group(distribution: Distribution, chosen: np.ndarray) -> dict[str, float]:
    columns = {key: distribution[key][chosen] for key in ("expected", "image_probability", "location_entropy")}
    columns["largest"] = distribution["probability"][chosen].max(axis=(1, 2))
    return {key: mean(values) for key, values in columns.items()} | {"categories": int(chosen.sum())}


def save(path: Path, distribution: Distribution) -> None:
    """Write the arrays as a compressed npz, atomically."""
    arrays: dict[str, Any] = dict(distribution)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> Distribution:
    """Read what :func:`save` wrote. Raises ValueError if arrays are missing."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = set(_KEYS) - set(arrays.files)
        if missing:
            raise ValueError(f"expected an object distribution in {path}, found no {sorted(missing)}: compute it again")
        return {key: arrays[key] for key in _KEYS}
