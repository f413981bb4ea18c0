"""Intervals by resampling images, for single figures and for paired differences.

Bootstrap: a replicate draws as many images as there are, with replacement. Jackknife: a replicate leaves out one of
:data:`GROUPS` groups of images. All models that were scored on the same images share the draws, so that differences
are paired: the luck of the draw is in both models and cancels.

What the intervals are about is the figure on ever more images like these. Percentiles of a single AP do not cover it:
repeated images shift AP upward, as few images do. ``benchmarks/coverage.py`` measures how often each construction
holds the truth; :func:`interval` and :func:`paired_difference` are those that came close to their level.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from gumbel.evaluation.matches import Matches
from gumbel.evaluation.metrics import mean
from gumbel.evaluation.weighted_ap import Figures, weighted_figures
from gumbel.jobs.files import atomic_path

GROUPS = 200


class Interval(NamedTuple):
    """An estimate with its interval at a level, all in the figure's unit."""

    estimate: float
    low: float
    high: float


class Resamples(NamedTuple):
    """Figures of one model under the shared draws, by name; NaN where a replicate leaves a figure undefined."""

    point: Figures  # (1,) with every image once
    bootstrap: Figures  # (B,)
    jackknife: Figures  # (G,)
    images: np.ndarray  # (I,) ids of the images that were drawn from
    seed: int


def resample(matches: Matches, replicates: int = 1000, seed: int = 0) -> Resamples:
    """Every figure on the images as they are, on ``replicates`` bootstrap draws, and on the jackknife's.

    The draws depend on the images and ``seed`` alone.
    """
    images = len(matches.images)
    weights = np.concatenate(
        [np.ones((1, images), np.int64), bootstrap_weights(images, replicates, seed), jackknife_weights(images, seed)]
    )
    figures = weighted_figures(matches, weights)
    point, bootstrap, jackknife = (
        {name: values[part] for name, values in figures.items()}
        for part in (slice(1), slice(1, 1 + replicates), slice(1 + replicates, None))
    )
    return Resamples(point, bootstrap, jackknife, matches.images, seed)


def bootstrap_weights(images: int, replicates: int, seed: int) -> np.ndarray:
    """How often each image is drawn: (replicates, images), rows sum to ``images``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / images), size=replicates)


def jackknife_weights(images: int, seed: int) -> np.ndarray:
    """0 for the images of one group and 1 for all others, (G, images), groups at random and of equal size."""
    groups = min(images, GROUPS)
    member = np.random.default_rng(seed).permutation(images) % groups
    return (member != np.arange(groups)[:, None]).astype(np.int64)


def interval(trainings: Sequence[Resamples], figure: str, level: float = 0.95) -> Interval:
    """The mean over trainings, with an interval for ever more images and trainings; NaN where it cannot be told.

    The centre is the estimate less the bootstrap's estimate of its bias, so the estimate itself lies in the upper
    half or above; the half-width is the jackknife's standard error times the normal quantile. The bootstrap's own
    standard error is too small for rare classes: redrawing one image of a class shows no other images of it. With
    several trainings, the half-width also holds what their choice adds (:func:`_reach_of_trainings`).

    Raises ValueError if not all were scored on the same draws.
    """
    _check_paired(trainings)
    parts = ("point", "bootstrap", "jackknife")
    point, replicates, left_out = (_mean_over(trainings, part, figure) for part in parts)
    centre = 2 * float(point[0]) - mean(replicates)
    over_images = float(ndtri((1 + level) / 2)) * jackknife_error(left_out)
    reach = np.hypot(over_images, _reach_of_trainings([trainings], figure, level))
    low, high = np.clip([centre - reach, centre + reach], 0, 1).tolist()
    return Interval(float(point[0]), low, high)


def jackknife_error(values: np.ndarray) -> float:
    """Standard error from the G values (G,) of a jackknife that leaves out a group at a time."""
    defined = values[~np.isnan(values)]
    groups = len(defined)
    return float(np.sqrt((groups - 1) * defined.var())) if groups > 1 else float("nan")


def paired_difference(
    first: Sequence[Resamples], second: Sequence[Resamples], figure: str, level: float = 0.95
) -> Interval:
    """Mean of the ``second`` trainings minus that of the ``first``, with an interval for other images and trainings.

    The images' part is the percentiles of the difference of replicates, which share their draws. With several
    trainings on both sides, the half-width also holds what their choice adds (:func:`_reach_of_trainings`).

    Raises ValueError if not all were scored on the same draws.
    """
    _check_paired([*first, *second])
    parts = ("point", "bootstrap")
    point, replicates = (_mean_over(second, part, figure) - _mean_over(first, part, figure) for part in parts)
    low, high = percentiles(replicates, level)
    centre, reach = (low + high) / 2, np.hypot((high - low) / 2, _reach_of_trainings([first, second], figure, level))
    return Interval(float(point[0]), float(centre - reach), float(centre + reach))


def _reach_of_trainings(sides: Sequence[Sequence[Resamples]], figure: str, level: float) -> float:
    """Half-width of the interval of a mean, or of a difference of means, that comes from the choice of trainings.

    Student's for one side and Welch's for two, whose trainings are not paired: few trainings tell little about their
    spread, so the quantile is large. 0 where a side has one training, which tells nothing.
    """
    sizes = np.array([len(side) for side in sides])
    if sizes.min() < 2:
        return 0.0
    variances = np.array([np.var([one.point[figure][0] for one in side], ddof=1) for side in sides]) / sizes
    if not variances.any():
        return 0.0
    freedom = variances.sum() ** 2 / (variances**2 / (sizes - 1)).sum()
    return float(stdtrit(freedom, (1 + level) / 2) * np.sqrt(variances.sum()))


def _check_paired(resamples: Sequence[Resamples]) -> None:
    """Raise ValueError unless all were resampled with the same draws of the same images."""
    draws = {(one.images.tobytes(), one.seed, len(one.bootstrap["AP"])) for one in resamples}
    if len(draws) > 1:
        raise ValueError(
            "expected results on the same images, resampled with the same seed and number of replicates, found "
            f"{len(draws)} different ones: resample them alike"
        )


def percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    """The central ``level`` of ``values`` (B,), undefined ones left out; NaN without any."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mean_over(trainings: Sequence[Resamples], part: str, figure: str) -> np.ndarray:
    """Each replicate's mean over trainings: all of them see the same images."""
    return np.mean([getattr(one, part)[figure] for one in trainings], axis=0)


def save(path: Path, by_type: dict[str, Resamples]) -> None:
    """Write the resamples of each IoU type as an npz, atomically."""
    arrays: dict[str, Any] = {}
    for iou_type, resamples in by_type.items():
        for part in ("point", "bootstrap", "jackknife"):
            arrays |= {f"{iou_type}/{part}/{name}": values for name, values in getattr(resamples, part).items()}
        arrays |= {f"{iou_type}/images": resamples.images, f"{iou_type}/seed": np.array(resamples.seed)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> dict[str, Resamples]:
    """Read what :func:`save` wrote."""
    found: dict[str, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted(arrays.files, key=lambda name: name.split("/")[0]):
            iou_type, part, *figure = name.split("/")
            parts = found.setdefault(iou_type, {})
            if figure:
                parts.setdefault(part, {})[figure[0]] = arrays[name]
            else:
                parts[part] = arrays[name]
    return {iou_type: Resamples(**parts)._replace(seed=int(parts["seed"])) for iou_type, parts in found.items()}
