"""Intervals of single figures and of paired differences: over images, over trainings, and over categories.

Bootstrap: a replicate draws as many images as there are, with replacement. Jackknife: a replicate leaves out one of
:data:`GROUPS` groups of images. All models that were scored on the same images share the draws, so that differences
are paired: the luck of the draw is in both models and cancels.

What the intervals are about is the figure on ever more images like these. Percentiles of a single AP do not cover it:
repeated images shift AP upward, as few images do. Figures of a group of categories (APr, APc, APf) are also about other
categories of that kind. ``benchmarks/coverage.py`` measures how often each construction holds the truth.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from gumbel.evaluation.matches import Matches
from gumbel.evaluation.metrics import mean
from gumbel.evaluation.weighted_ap import Figures, category_figures, weighted_figures
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
    bootstrap: Figures  # (B,) float32
    jackknife: Figures  # (G,)
    categories: Figures  # (K,) the value of each category, of figures that are about other categories too
    images: np.ndarray  # (I,) ids of the images that were drawn from
    seed: int


def resample(matches: Matches, replicates: int = 10_000, seed: int = 0) -> Resamples:
    """Every figure on the images as they are, on ``replicates`` bootstrap draws, and on the jackknife's.

    The draws depend on the images and ``seed`` alone.
    """
    images = len(matches.images)
    once = np.ones((1, images), np.uint16)
    drawn, left_out = bootstrap_weights(images, replicates, seed), jackknife_weights(images, seed)
    figures = weighted_figures(matches, np.concatenate([once, drawn, left_out]))
    point, bootstrap, jackknife = (
        {name: values[part] for name, values in figures.items()}
        for part in (slice(1), slice(1, 1 + replicates), slice(1 + replicates, None))
    )
    rounded = {name: values.astype(np.float32) for name, values in bootstrap.items()}
    return Resamples(point, rounded, jackknife, category_figures(matches), matches.images, seed)


def bootstrap_weights(images: int, replicates: int, seed: int) -> np.ndarray:
    """How often each image is drawn: (replicates, images) uint16, rows sum to ``images``."""
    rng = np.random.default_rng(seed)
    weights = np.empty((replicates, images), np.uint16)
    for row in weights:
        row[:] = np.bincount(rng.integers(images, size=images), minlength=images)
    return weights


def jackknife_weights(images: int, seed: int) -> np.ndarray:
    """0 for the images of one group and 1 for all others, (G, images), groups at random and of equal size."""
    groups = min(images, GROUPS)
    member = np.random.default_rng(seed).permutation(images) % groups
    return (member != np.arange(groups)[:, None]).astype(np.uint16)


def interval(
    trainings: Sequence[Resamples], figure: str, level: float = 0.95, within: tuple[float, float] = (0, 1)
) -> Interval:
    """The mean over trainings, with an interval for ever more images and trainings; NaN where it cannot be told.

    The centre is the estimate less the bootstrap's estimate of its bias, so the estimate itself lies in the upper
    half or above; the half-width is the jackknife's standard error times the normal quantile. The bootstrap's own
    standard error is too small for rare classes: redrawing one image of a class shows no other images of it. With
    several trainings, the half-width also holds what their choice adds (:func:`_reach_of_trainings`), and that of
    categories (:func:`_reach_of_categories`). The figure lies ``within``.

    Raises ValueError if not all were scored on the same draws.
    """
    _check_paired(trainings)
    parts = ("point", "bootstrap", "jackknife")
    point, replicates, left_out = (_mean_over(trainings, part, figure) for part in parts)
    centre = 2 * float(point[0]) - mean(replicates)
    over_images = float(ndtri((1 + level) / 2)) * jackknife_error(left_out)
    reach = _together(over_images, [trainings], figure, level)
    low, high = np.clip([centre - reach, centre + reach], *within).tolist()
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
    trainings on both sides, the half-width also holds what their choice adds (:func:`_reach_of_trainings`), and that of
    categories (:func:`_reach_of_categories`).

    Raises ValueError if not all were scored on the same draws.
    """
    _check_paired([*first, *second])
    point, replicates = (_difference(first, second, part, figure) for part in ("point", "bootstrap"))
    low, high = percentiles(replicates, level)
    centre, reach = (low + high) / 2, _together((high - low) / 2, [first, second], figure, level)
    return Interval(float(point[0]), float(centre - reach), float(centre + reach))


def monte_carlo_error(
    first: Sequence[Resamples], second: Sequence[Resamples], figure: str, level: float = 0.95
) -> float:
    """Standard error that the number of replicates leaves in the bounds of :func:`paired_difference`.

    Of the larger one: half of what lies between the replicates one standard error of their rank below and above it.
    """
    replicates = _difference(first, second, "bootstrap", figure)
    defined = replicates[~np.isnan(replicates)]
    if not len(defined):
        return float("nan")
    tail = (1 - level) / 2
    error = np.sqrt(tail * (1 - tail) / len(defined))
    about = [(max(rank - error, 0), min(rank + error, 1)) for rank in (tail, 1 - tail)]
    return float(max(np.ptp(np.quantile(defined, ranks)) for ranks in about) / 2)


def _together(over_images: float, sides: Sequence[Sequence[Resamples]], figure: str, level: float) -> float:
    """Half-width over images, trainings and categories, as if their luck were independent."""
    others = _reach_of_trainings(sides, figure, level), _reach_of_categories(sides, figure, level)
    return float(np.linalg.norm([over_images, *others]))


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


def _reach_of_categories(sides: Sequence[Sequence[Resamples]], figure: str, level: float) -> float:
    """Half-width that comes from the choice of categories: Student's, of their values or of their differences.

    Their spread also holds the luck of each category's own images and trainings, which the other parts count once more:
    the whole is rather too wide. 0 for figures of all categories; NaN where fewer than two are defined.
    """
    if figure not in sides[0][0].categories:
        return 0.0
    means = [_mean_over(side, "categories", figure) for side in sides]
    values = means[0] if len(means) == 1 else means[1] - means[0]
    defined = values[~np.isnan(values)]
    number = len(defined)
    if number < 2:
        return float("nan")
    return float(stdtrit(number - 1, (1 + level) / 2) * defined.std(ddof=1) / np.sqrt(number))


def _check_paired(resamples: Sequence[Resamples]) -> None:
    """Raise ValueError unless all were resampled with the same draws of the same images."""
    draws = {(one.images.tobytes(), one.seed, *map(len, one.bootstrap.values())) for one in resamples}
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


def _difference(first: Sequence[Resamples], second: Sequence[Resamples], part: str, figure: str) -> np.ndarray:
    """Of each replicate: the second side's mean over trainings minus the first's."""
    return _mean_over(second, part, figure) - _mean_over(first, part, figure)


def _mean_over(trainings: Sequence[Resamples], part: str, figure: str) -> np.ndarray:
    """Each replicate's mean over trainings: all of them see the same images."""
    return np.asarray(np.mean([getattr(one, part)[figure] for one in trainings], axis=0, dtype=np.float64))


def save(path: Path, by_type: dict[str, Resamples]) -> None:
    """Write the resamples of each IoU type as an npz, atomically."""
    arrays: dict[str, Any] = {}
    for iou_type, resamples in by_type.items():
        for part in ("point", "bootstrap", "jackknife", "categories"):
            arrays |= {f"{iou_type}/{part}/{name}": values for name, values in getattr(resamples, part).items()}
        arrays |= {f"{iou_type}/images": resamples.images, f"{iou_type}/seed": np.array(resamples.seed)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load(path: Path) -> dict[str, Resamples]:
    """Read what :func:`save` wrote.

    Raises ValueError for a file without the values of categories, as earlier ones are.
    """
    found: dict[str, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in sorted(arrays.files, key=lambda name: name.split("/")[0]):
            iou_type, part, *figure = name.split("/")
            parts = found.setdefault(iou_type, {})
            if figure:
                parts.setdefault(part, {})[figure[0]] = arrays[name]
            else:
                parts[part] = arrays[name]
    if not all("categories" in parts for parts in found.values()):
        raise ValueError(f"expected values of categories in {path}, found none: evaluate the predictions anew")
    return {iou_type: Resamples(**parts)._replace(seed=int(parts["seed"])) for iou_type, parts in found.items()}
