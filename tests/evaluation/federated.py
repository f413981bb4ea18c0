"""Random federated annotations and detections with everything that makes evaluators disagree, and the official API."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as rle

from gumbel.analysis.errors import describe, find_errors
from gumbel.evaluation.lvis_ap import score
from gumbel.evaluation.matches import Matches
from gumbel.evaluation.official_backend import load_api
from gumbel.evaluation.predictions import PredictionWriter

Record = dict[str, Any]
CATEGORIES = 9


def generate(seed: int, images: int = 10, crowded: int = 0) -> tuple[Record, list[Record]]:
    """LVIS v1 annotations and detections, each with a mask and a box that is not the mask's.

    Tied scores, near hits, duplicates, wrong classes, images without anything, categories without ground truth,
    not-exhaustive lists, and zero-area boxes, masks and annotations. The first image gets ``crowded`` detections more.
    """
    rng = np.random.default_rng(seed)
    categories = [
        {"id": 10 * k + 5, "name": f"c{k}", "frequency": "rcf"[k % 3], "image_count": 4 ** (k % 3) + k}
        for k in rng.permutation(CATEGORIES).tolist()
    ]
    truth: Record = {"images": [], "annotations": [], "categories": categories}
    detections: list[Record] = []
    for image in (rng.permutation(images) * 7 + 2).tolist():
        _add_image(rng, image, truth, detections)
    for _ in range(crowded):
        detections.append(_detection(rng, detections[0] | {"box": _box(rng, detections[0]["size"])}))
    return truth, [detections[k] for k in rng.permutation(len(detections))]


def _add_image(rng: np.random.Generator, image: int, truth: Record, detections: list[Record]) -> None:
    size = rng.integers(70, 220, 2).tolist()
    ids = rng.permutation([10 * k + 5 for k in range(CATEGORIES - 1)]).tolist()  # the last one has no ground truth
    positive, negative = ids[:2], [*ids[2:4], 10 * CATEGORIES - 5]
    not_exhaustive = [category for category in positive if rng.random() < 0.3]
    truth["images"].append(
        {"id": image, "height": size[0], "width": size[1], "neg_category_ids": negative}
        | {"not_exhaustive_category_ids": not_exhaustive}
    )
    for category in positive:
        for _ in range(rng.integers(0, 4)):
            box = _box(rng, size)
            polygons = _polygons(rng, box)
            area = float(rle.area(rle.merge(rle.frPyObjects(polygons, *size)))) * (rng.random() > 0.05)
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, "image_id": image, "category_id": category}
                | {"bbox": box, "area": area, "segmentation": polygons}
            )
            source = {"image_id": image, "category_id": category, "size": size, "box": box}
            detections.extend(_detection(rng, source) for _ in range(rng.integers(0, 6)))
    if rng.random() < 0.5:
        source = {"image_id": image, "category_id": negative[0], "size": size, "box": _box(rng, size)}
        detections.append(_detection(rng, source))


def _box(rng: np.random.Generator, size: list[int]) -> list[float]:
    height, width = size
    w, h = rng.uniform(4, [width * 0.9, height * 0.9])
    return [float(rng.uniform(0, width - w)), float(rng.uniform(0, height - h)), float(w), float(h)]


def _polygons(rng: np.random.Generator, box: list[float]) -> list[list[float]]:
    """One or two shapes in the box."""
    x, y, w, h = box
    first = [x, y, x + w, y, x + w, y + h * 0.6, x + w * rng.uniform(0.2, 0.8), y + h, x, y + h * 0.6]
    second = [x, y + h * 0.9, x + w * 0.3, y + h * 0.9, x + w * 0.3, y + h]
    return [first, second] if rng.random() < 0.3 else [first]


def _detection(rng: np.random.Generator, source: Record) -> Record:
    x, y, w, h = np.array(source["box"]) + rng.normal(0, 2, 4)
    box = [float(x), float(y), max(float(w), 2.0), max(float(h), 2.0)]
    mask = rle.merge(rle.frPyObjects(_polygons(rng, box), *source["size"]))
    if rng.random() < 0.08:
        mask = rle.encode(np.zeros(source["size"], np.uint8, order="F"))
    box[2] *= rng.random() > 0.08
    category = source["category_id"] if rng.random() < 0.8 else int(10 * rng.integers(CATEGORIES) + 5)
    return {
        "image_id": source["image_id"],
        "category_id": category,
        "score": round(float(rng.random()), 1),
        "size": source["size"],
        "box": source["box"] if rng.random() < 0.1 else box,
        "mask": {"size": list(mask["size"]), "counts": mask["counts"].decode()},
    }


def write(root: Path, truth: Record, detections: list[Record]) -> tuple[Path, Path]:
    """Annotations as JSON and detections as Parquet, in the order of the list."""
    annotations, predictions = root / "truth.json", root / "predictions.parquet"
    annotations.write_text(json.dumps(truth))
    with PredictionWriter(predictions) as writer:
        for one in detections:
            writer.write(one["image_id"], [one["category_id"]], [one["score"]], [one["box"]], [one["mask"]])
    return annotations, predictions


def official_records(detections: list[Record], iou_type: str) -> list[Record]:
    """Detections in the official results format: a mask record carries no box."""
    key, form = ("bbox", "box") if iou_type == "bbox" else ("segmentation", "mask")
    common = ("image_id", "category_id", "score")
    return [{name: one[name] for name in common} | {key: one[form]} for one in detections]


def official(annotations: Path, detections: list[Record], iou_type: str) -> dict[str, float | None]:
    """The official API run as its authors do, on all of the data at once."""
    lvis = load_api()
    logging.getLogger("lvis").setLevel(logging.ERROR)
    truth = lvis.LVIS(str(annotations))
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, official_records(detections, iou_type)), iou_type)
    evaluation.run()
    return {name: None if value == -1 else float(value) for name, value in evaluation.get_results().items()}


def match(annotations: Path, predictions: Path, iou_type: str) -> Matches:
    """The matches behind the figures of one IoU type."""
    return score(annotations, predictions, [iou_type]).found.matches[iou_type]


def diagnose(annotations: Path, predictions: Path) -> Record:
    """Types of error of a file of detections."""
    return describe(find_errors(score(annotations, predictions, ["segm"], overlaps=True).found))
