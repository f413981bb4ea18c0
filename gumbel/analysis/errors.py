"""Why detections are wrong, and what their scores are worth.

The types of error are those of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020), on masks at an IoU of 0.5, for what LVIS judges: detections of a category that is neither
annotated nor listed as absent in the image cost nothing and are left out.

true            takes an object of its category (IoU of at least 0.5)
localisation    lies on an object of its category, with an IoU from 0.1 to 0.5
classification  lies on an object of another category (IoU of at least 0.5)
duplicate       lies on an object of its category that a higher score has taken
background      lies on nothing (IoU of at most 0.1)
both            the rest: another category, and badly placed
missed          an object that no true detection takes and no localisation or classification error lies on
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from gumbel.evaluation.ground_truth import GroundTruth, read_ground_truth
from gumbel.evaluation.lvis_ap import select
from gumbel.evaluation.matches import object_mask
from gumbel.evaluation.predictions import Predictions, read_predictions
from gumbel.evaluation.protocol import shapes

ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
FOREGROUND, BACKGROUND = 0.5, 0.1
RECALLS = np.linspace(0, 1, 101)
#: Edges of the histogram of scores: six to a decade. Scores below the first count in the first bin.
SCORE_EDGES = np.concatenate([np.logspace(-4, 0, 25)[:-1], [1.0]])
_BINS = 10  # of the reliability diagram, of equal width


class Errors(NamedTuple):
    """Detections that LVIS judges, images ascending and scores falling, and the objects."""

    detections: pd.DataFrame  # category_id, score, kind (as above), target (row of objects; -1 for none)
    objects: pd.DataFrame  # category_id, kind (found, missed, or blank where an error lies on it)
    categories: pd.DataFrame  # category_id, frequency


def diagnose(annotations: Path, predictions: Path) -> dict[str, Any]:
    """Errors, score histogram and calibration of a file of detections; a record for JSON.

    ``AP50``: of all, r, c and f; ``errors``: for each type its ``number`` and its ``cost``, the AP50 that is
    gained where an oracle corrects it, of all, r, c and f; ``scores`` and ``calibration`` as :func:`histogram`
    and :func:`calibration` give them. What is undefined is None.
    """
    return describe(find_errors(read_ground_truth(annotations), read_predictions(predictions)))


def describe(found: Errors) -> dict[str, Any]:
    """The record of :func:`diagnose`, of errors that are found already."""
    base = _groups(category_ap(found.detections, found.objects, found.categories), found.categories)
    record: dict[str, Any] = {"schema": 1, "iou": FOREGROUND, "AP50": base, "errors": {}}
    for kind in ERRORS:
        fixed = _groups(category_ap(*correct(found, kind), found.categories), found.categories)
        table = found.objects if kind == "missed" else found.detections
        cost = {group: _minus(fixed[group], base[group]) for group in base}
        record["errors"][kind] = {"number": int((table["kind"] == kind).sum()), "cost": cost}
    score, hit = found.detections["score"].to_numpy(), (found.detections["kind"] == "true").to_numpy()
    return record | {"scores": histogram(score, hit), "calibration": calibration(score, hit)}


def find_errors(truth: GroundTruth, predictions: Predictions) -> Errors:
    """Sort every judged detection and every object into a type."""
    rows, _ = select(truth, predictions)
    image_id = predictions.image_id[rows]
    detections, objects, first = [], [], 0
    for image in truth.images:
        low, high = np.searchsorted(image_id, [image["id"], image["id"] + 1])
        annotations = truth.annotations.get(image["id"], [])
        found, kinds = _image(image, annotations, predictions, rows[low:high])
        found["target"] += np.where(found["target"] >= 0, first, 0)
        detections.append(found)
        objects += [(entry["category_id"], kind) for entry, kind in zip(annotations, kinds, strict=True)]
        first += len(annotations)
    return Errors(
        pd.concat(detections, ignore_index=True),
        pd.DataFrame(objects, columns=["category_id", "kind"]),
        pd.DataFrame({"category_id": truth.category_ids, "frequency": truth.frequencies}),
    )


def _image(
    image: dict[str, Any], annotations: list[dict[str, Any]], predictions: Predictions, rows: np.ndarray
) -> tuple[pd.DataFrame, list[str]]:
    """Detections of an image with their types, targets being places in ``annotations``; types of the objects."""
    masks, area = shapes(predictions, rows, "segm")
    masks, rows = [mask for mask, a in zip(masks, area, strict=True) if a > 0], rows[area > 0]
    size = image["height"], image["width"]
    objects = [object_mask(entry["segmentation"], *size) for entry in annotations]
    overlap = np.zeros((len(masks), len(objects)))
    if masks and objects:
        overlap = np.asarray(rle.iou(masks, objects, [0] * len(objects)))
    category = predictions.category_id[rows]
    same = category[:, None] == np.array([entry["category_id"] for entry in annotations], dtype=np.int64)
    taken = match(overlap, same)
    kind, target = _sort(overlap, same, taken)
    # Where not every object of a category is annotated, LVIS counts no false positives of it.
    judged = (taken >= 0) | ~np.isin(category, image["not_exhaustive_category_ids"])
    lying = set(target[judged & np.isin(kind, ["localisation", "classification"])].tolist())
    kinds = ["found" if g in taken else "" if g in lying else "missed" for g in range(len(objects))]
    frame = pd.DataFrame({"category_id": category, "score": predictions.score[rows], "kind": kind, "target": target})
    return frame[judged], kinds


def match(overlap: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The object that each detection takes (D,), -1 for none: scores falling, each the best that is free.

    ``overlap`` and ``same`` (D, G): IoU, and whether the categories are the same.
    As the official API, of equal overlaps the last object is taken.
    """
    taken = np.full(len(overlap), -1)
    candidates = np.where(same & (overlap >= FOREGROUND), overlap, -1.0)
    for d in np.flatnonzero((candidates >= 0).any(axis=1)):
        best = candidates.shape[1] - 1 - int(candidates[d, ::-1].argmax())
        if candidates[d, best] >= 0:
            taken[d] = best
            candidates[:, best] = -1.0
    return taken


def _sort(overlap: np.ndarray, same: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Type and target (D,) of every detection, in TIDE's order of precedence."""
    kind, target = np.full(len(overlap), "background", dtype=object), np.full(len(overlap), -1)
    if not overlap.size:
        return kind, target
    own, other = np.where(same, overlap, 0.0), np.where(same, 0.0, overlap)
    masks = {
        "both": overlap.max(axis=1) > BACKGROUND,
        "duplicate": own.max(axis=1) >= FOREGROUND,
        "classification": other.max(axis=1) >= FOREGROUND,
        "localisation": (own.max(axis=1) >= BACKGROUND) & (own.max(axis=1) < FOREGROUND),
        "true": taken >= 0,
    }
    for name, chosen in masks.items():  # later ones take precedence
        kind[chosen] = name
    for name, source in {"localisation": own, "classification": other}.items():
        target[kind == name] = source.argmax(axis=1)[kind == name]
    target[taken >= 0] = taken[taken >= 0]
    return kind, target


def correct(found: Errors, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Detections and objects as an oracle leaves them that corrects one type of error.

    A localisation or classification error becomes a true detection of the object that it lies on, if that is
    still free and no higher score of this type lies on it; else it is left out, as duplicates, background and
    ``both`` are. Missed objects are no longer asked for.
    """
    detections, objects = found.detections, found.objects
    if kind == "missed":
        return detections, objects[objects["kind"] != "missed"]
    wrong = detections["kind"] == kind
    if kind not in ("localisation", "classification"):
        return detections[~wrong], objects
    free = detections["target"].map(objects["kind"]) != "found"
    first = detections[wrong & free].sort_values("score", ascending=False, kind="stable").drop_duplicates("target")
    corrected = detections.copy()
    corrected.loc[first.index, "kind"] = "true"
    corrected.loc[first.index, "category_id"] = objects["category_id"].loc[first["target"]].to_numpy()
    return corrected[corrected["kind"] != kind], objects


def category_ap(detections: pd.DataFrame, objects: pd.DataFrame, categories: pd.DataFrame) -> np.ndarray:
    """AP50 of each category (K,), over 101 levels of recall as LVIS averages it; NaN without objects.

    A category whose objects were all missed, and are no longer asked for, has an AP50 of 1.
    """
    number = objects["category_id"].value_counts()
    detected = dict(list(detections.groupby("category_id")))
    result = np.full(len(categories), np.nan)
    for place, category in enumerate(categories["category_id"]):
        part = detected.get(category)
        if category in number.index:
            result[place] = 0.0 if part is None else _average_precision(part, int(number[category]))
    return result


def _average_precision(part: pd.DataFrame, objects: int) -> float:
    order = np.argsort(-part["score"].to_numpy(), kind="stable")
    hit = (part["kind"] == "true").to_numpy()[order]
    found = np.cumsum(hit)
    precision = found / (np.arange(1, len(hit) + 1) + np.spacing(1))
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(found / objects, RECALLS, side="left")].mean())


def _groups(ap: np.ndarray, categories: pd.DataFrame) -> dict[str, float | None]:
    frequency = categories["frequency"].to_numpy()
    groups = {"all": np.ones(len(ap), bool)} | {letter: frequency == letter for letter in "rcf"}
    defined = {name: ap[chosen & ~np.isnan(ap)] for name, chosen in groups.items()}
    return {name: float(values.mean()) if len(values) else None for name, values in defined.items()}


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def histogram(score: np.ndarray, hit: np.ndarray) -> dict[str, list[float]]:
    """How many true and false detections have a score in each bin of :data:`SCORE_EDGES`."""
    clipped = np.clip(score, SCORE_EDGES[0], 1.0)
    counts = {
        name: np.histogram(clipped[chosen], SCORE_EDGES)[0] for name, chosen in {"true": hit, "false": ~hit}.items()
    }
    return {"edges": SCORE_EDGES.tolist()} | {name: number.tolist() for name, number in counts.items()}


def calibration(score: np.ndarray, hit: np.ndarray) -> dict[str, Any]:
    """Mean score and share of true detections in ten bins of equal width, and the expected calibration error.

    The error is the mean over detections of the gap between the two (Guo et al., "On Calibration of Modern
    Neural Networks", ICML 2017, Eq. 3). Empty bins are None.
    """
    place = np.minimum((score * _BINS).astype(int), _BINS - 1)
    number = np.bincount(place, minlength=_BINS)
    sums = [np.bincount(place, weights=values, minlength=_BINS) for values in (score, hit.astype(float))]
    means = [[float(s / n) if n else None for s, n in zip(total, number, strict=True)] for total in sums]
    gap = float(np.abs(sums[0] - sums[1]).sum() / len(score)) if len(score) else None
    return {"number": number.tolist(), "score": means[0], "true": means[1], "error": gap}
