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

from typing import Any, NamedTuple

import numpy as np

from gumbel.evaluation.lvis_ap import precision_and_recall
from gumbel.evaluation.matches import Found
from gumbel.evaluation.metrics import as_record, mean
from gumbel.evaluation.protocol import IOU_THRESHOLDS

ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
KINDS = ("true", *ERRORS)
FOREGROUND, BACKGROUND = float(IOU_THRESHOLDS[0]), 0.1
#: Edges of the histogram of scores: six to a decade. Scores below the first count in the first bin.
SCORE_EDGES = np.concatenate([np.logspace(-4, 0, 25)[:-1], [1.0]])
_BINS = 10  # of the reliability diagram, of equal width


class Errors(NamedTuple):
    """D detections that LVIS judges, images ascending and scores falling, and G objects; categories are indices."""

    category: np.ndarray  # (D,)
    score: np.ndarray  # (D,)
    kind: np.ndarray  # (D,) index of KINDS, or -1 where an oracle leaves the detection out
    target: np.ndarray  # (D,) object that the detection takes or lies on, -1 for none
    object_category: np.ndarray  # (G,)
    object_kind: np.ndarray  # (G,) index of KINDS: true where it is found, missed, or -1 where an error lies on it
    frequencies: np.ndarray  # (K,) r, c or f


def describe(found: Errors) -> dict[str, Any]:
    """Errors, score histogram and calibration; a record for JSON.

    ``AP50``: of all, r, c and f; ``errors``: for each type its ``number`` and its ``cost``, the AP50 that is
    gained where an oracle corrects it, of all, r, c and f; ``scores`` and ``calibration`` as :func:`histogram`
    and :func:`calibration` give them. What is undefined is None.
    """
    order = ranked(found)
    base = _groups(category_ap(found, order), found.frequencies)
    record: dict[str, Any] = {"schema": 1, "iou": FOREGROUND, "AP50": as_record(base), "errors": {}}
    for kind in ERRORS:
        corrected = correct(found, kind)
        alike = corrected.category is found.category
        fixed = _groups(category_ap(corrected, order if alike else ranked(corrected)), found.frequencies)
        kinds = found.object_kind if kind == "missed" else found.kind
        cost = as_record({group: fixed[group] - base[group] for group in base})
        record["errors"][kind] = {"number": int((kinds == KINDS.index(kind)).sum()), "cost": cost}
    hit = found.kind == 0
    return record | {"scores": histogram(found.score, hit), "calibration": calibration(found.score, hit)}


def find_errors(matched: Found) -> Errors:
    """Sort every judged detection and every object into a type, in TIDE's order of precedence."""
    lying = matched.overlaps
    if lying is None:
        raise ValueError("expected matches with overlaps, found none: match with overlaps=True")
    found, own, other = lying.taken >= 0, lying.own_iou, lying.other_iou
    types = {
        "true": found,
        "localisation": (own >= BACKGROUND) & (own < FOREGROUND),
        "classification": other >= FOREGROUND,
        "duplicate": own >= FOREGROUND,
        "both": np.maximum(own, other) > BACKGROUND,
    }
    codes = [np.int8(KINDS.index(name)) for name in types]
    kind = np.select(list(types.values()), codes, np.int8(KINDS.index("background")))
    targets = {"true": lying.taken, "localisation": lying.own, "classification": lying.other}
    target = np.select([kind == KINDS.index(name) for name in targets], list(targets.values()), np.int32(-1))
    objects = np.full(len(lying.object_category), KINDS.index("missed"), np.int8)
    objects[target[lying.judged & (target >= 0)]] = -1
    objects[lying.taken[found]] = 0
    # Where not every object of a category is annotated, LVIS counts no false positives of it
    category, points, kind, target = (c[lying.judged] for c in (lying.category, lying.score, kind, target))
    return Errors(category, points, kind, target, lying.object_category, objects, lying.frequencies)


def correct(found: Errors, kind: str) -> Errors:
    """Detections and objects as an oracle leaves them that corrects one type of error.

    A localisation or classification error becomes a true detection of the object that it lies on, if that is
    still free and no higher score of this type lies on it; else it is left out, as duplicates, background and
    ``both`` are. Missed objects are no longer asked for.
    """
    code = KINDS.index(kind)
    if kind == "missed":
        asked = found.object_kind != code
        return found._replace(object_category=found.object_category[asked], object_kind=found.object_kind[asked])
    kinds, category = np.where(found.kind == code, np.int8(-1), found.kind), found.category
    if kind in ("localisation", "classification"):
        wrong = np.flatnonzero(found.kind == code)
        free = wrong[found.object_kind[found.target[wrong]] != 0]
        highest = free[np.lexsort((-found.score[free], found.target[free]))]
        targets, first = np.unique(found.target[highest], return_index=True)
        kinds[highest[first]] = 0
        if kind == "classification":
            category = category.copy()
            category[highest[first]] = found.object_category[targets]
    return found._replace(category=category, kind=kinds)


def ranked(found: Errors) -> np.ndarray:
    """The order of detections (D,) by category and falling score."""
    return np.lexsort((-found.score, found.category))


def category_ap(found: Errors, order: np.ndarray) -> np.ndarray:
    """AP50 of each category (K,), over 101 levels of recall as LVIS averages it; NaN without objects."""
    kind = found.kind[order]
    hit, counted = (kind == 0).astype(np.uint16), (kind >= 0).astype(np.uint16)
    objects = np.bincount(found.object_category, minlength=len(found.frequencies))
    precision, _ = precision_and_recall(found.category[order], hit, counted, objects, thresholds=1)
    return np.ascontiguousarray(precision[0].T).mean(axis=1)


def _groups(ap: np.ndarray, frequency: np.ndarray) -> dict[str, float]:
    return {"all": mean(ap)} | {letter: mean(ap[frequency == letter]) for letter in "rcf"}


def histogram(score: np.ndarray, hit: np.ndarray) -> dict[str, list[float]]:
    """How many true and false detections have a score in each bin of :data:`SCORE_EDGES`."""
    clipped = np.clip(score, SCORE_EDGES[0], 1.0)
    true, false = (np.histogram(clipped[chosen], SCORE_EDGES)[0].tolist() for chosen in (hit, ~hit))
    return {"edges": SCORE_EDGES.tolist(), "true": true, "false": false}


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
