"""How often a nominal interval holds the truth, for single figures and for paired differences.

    python benchmarks/coverage.py --images 200 --draws 200
    python benchmarks/coverage.py --trainings 3        # also draws trainings, for intervals of their mean

A population of 20,000 images with long-tailed categories, federated negatives and two models of different skill is
simulated at the level of ranked true and false positives; its AP is the truth. Each draw takes ``--images`` of it,
forms every interval, and looks whether the truth lies inside. With several trainings, each model has a pool of them
with skills of their own, the truth is the pool's mean, and a draw takes as many of each. Prints coverage and mean
width; the last line is JSON.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from gumbel.evaluation.bootstrap import (
    Interval,
    Resamples,
    interval,
    jackknife_error,
    paired_difference,
    percentiles,
    resample,
)
from gumbel.evaluation.matches import Matches, Ranking
from gumbel.evaluation.protocol import IOU_THRESHOLDS
from gumbel.evaluation.weighted_ap import weighted_figures

POPULATION = 20_000
SKILLS = (0.0, 0.25)
POOL, UNSTEADY = 10, 0.05  # trainings of a model, and the standard deviation of their skill
FIGURES = ("AP", "AP50", "APr", "APc", "APf")
PREVALENCE = {"r": (0.01, 0.02), "c": (0.02, 0.06), "f": (0.06, 0.3)}  # share of images with the category
NEGATIVE = 0.08  # share of images that list a category as absent
NOTHING = Ranking(*[np.zeros(0, np.int64)] * 6)


def population(rng: np.random.Generator, categories: int, skills: Sequence[float]) -> list[Matches]:
    """Trainings of these skills on the same images."""
    group = categories // 3
    prevalence = np.concatenate([np.geomspace(*bounds, group) for bounds in PREVALENCE.values()])
    per_model: list[list[Ranking]] = [[] for _ in skills]
    for k, share in enumerate(prevalence):
        for rankings, ranking in zip(
            per_model, _category(rng, k, share, 0.2 * (k // group) - 0.3, skills), strict=True
        ):
            rankings.append(ranking)
    whole = [Ranking(*map(np.concatenate, zip(*rankings, strict=True))) for rankings in per_model]
    frequencies = np.repeat(list(PREVALENCE), group)
    return [Matches([ranking, NOTHING, NOTHING, NOTHING], np.arange(POPULATION), frequencies) for ranking in whole]


def _category(
    rng: np.random.Generator, k: int, prevalence: float, ease: float, skills: Sequence[float]
) -> list[Ranking]:
    """One category for each training: objects share their difficulty, and images the difficulty of all in them."""
    positive = np.flatnonzero(rng.random(POPULATION) < prevalence)
    objects = np.repeat(positive, 1 + rng.poisson(0.6, len(positive)))
    negative = np.flatnonzero(rng.random(POPULATION) < NEGATIVE)
    false = np.concatenate([np.repeat(positive, 2), negative])
    scene = rng.normal(0, 0.6, POPULATION)
    quality = ease + rng.normal(0, 0.5) + scene[objects] + rng.normal(0, 1, len(objects))
    tempting = 0.3 * scene[false] + rng.normal(0, 1, len(false)) - 1.2
    rankings = []
    for skill in skills:
        own = quality + skill + rng.normal(0, 0.5, len(objects))
        iou = 1 / (1 + np.exp(-own - 0.3))
        score = np.concatenate(
            [own + rng.normal(0, 0.7, len(own)), tempting - 0.3 * skill + rng.normal(0, 0.5, len(false))]
        )
        true = np.concatenate([_bits(iou), np.zeros(len(false), np.uint16)])
        order = np.argsort(-score)
        image = np.concatenate([objects, false])[order]
        full = np.full(len(order), (1 << len(IOU_THRESHOLDS)) - 1, np.uint16)
        rankings.append(Ranking(np.full(len(order), k), image, true[order], full, np.full(len(objects), k), objects))
    return rankings


def _bits(iou: np.ndarray) -> np.ndarray:
    bits = np.zeros(len(iou), np.uint16)
    for threshold, bound in enumerate(IOU_THRESHOLDS):
        bits |= (iou >= bound).astype(np.uint16) << threshold
    return bits


def take(matches: Matches, images: np.ndarray) -> Matches:
    """The data set of ``images`` alone."""
    place = np.full(len(matches.images), -1)
    place[images] = np.arange(len(images))
    whole = matches.rankings[0]
    found, objects = place[whole.image] >= 0, place[whole.object_image] >= 0
    ranking = Ranking(
        whole.category[found],
        place[whole.image[found]],
        whole.true[found],
        whole.counted[found],
        whole.object_category[objects],
        place[whole.object_image[objects]],
    )
    return Matches([ranking, NOTHING, NOTHING, NOTHING], matches.images[images], matches.frequencies)


def single(resamples: Resamples, figure: str) -> dict[str, Interval]:
    point, replicates = float(resamples.point[figure][0]), resamples.bootstrap[figure]
    low, high = percentiles(replicates, 0.95)
    boot, jack = 1.96 * np.nanstd(replicates, ddof=1), 1.96 * jackknife_error(resamples.jackknife[figure])
    return {
        "percentile": Interval(point, low, high),
        "basic": Interval(point, 2 * point - high, 2 * point - low),
        "point ± bootstrap error": Interval(point, point - boot, point + boot),
        "point ± jackknife error": Interval(point, point - jack, point + jack),
        "chosen: bias-corrected ± jackknife error": interval([resamples], figure),
    }


def paired(first: Resamples, second: Resamples, figure: str) -> dict[str, Interval]:
    chosen = paired_difference([first], [second], figure)
    estimate, low, high = chosen
    jack = 1.96 * jackknife_error(second.jackknife[figure] - first.jackknife[figure])
    return {
        "basic": Interval(estimate, 2 * estimate - high, 2 * estimate - low),
        "point ± jackknife error": Interval(estimate, estimate - jack, estimate + jack),
        "chosen: percentile": chosen,
    }


def simulate(
    images: int, draws: int, replicates: int, categories: int, seed: int, trainings: int
) -> dict[str, dict[str, float]]:
    """Coverage and mean width by figure and construction."""
    rng = np.random.default_rng(seed)
    pool = 1 if trainings == 1 else POOL
    skills = [skill + UNSTEADY * (rng.normal() if pool > 1 else 0) for skill in SKILLS for _ in range(pool)]
    models = population(rng, categories, skills)
    every = [weighted_figures(one, np.ones((1, POPULATION))) for one in models]
    truth = [{name: np.mean([one[name] for one in every[k : k + pool]]) for name in FIGURES} for k in (0, pool)]
    inside, width = defaultdict(list), defaultdict(list)
    for draw in range(draws):
        chosen = np.sort(rng.choice(POPULATION, images, replace=False))
        sides = [
            [resample(take(models[k], chosen), replicates, draw) for k in start + rng.integers(pool, size=trainings)]
            for start in (0, pool)
        ]
        for figure in FIGURES:
            values = truth[0][figure], truth[1][figure] - truth[0][figure]
            cases = candidates(*sides, figure)
            for value, (kind, intervals) in zip(values, cases.items(), strict=True):
                for name, (_, low, high) in intervals.items():
                    inside[kind, figure, name].append(low <= value <= high)
                    width[kind, figure, name].append(high - low)
    return {
        " | ".join(key): {"coverage": float(np.mean(inside[key])), "width": float(np.mean(width[key]))}
        for key in inside
    }


def candidates(first: list[Resamples], second: list[Resamples], figure: str) -> dict[str, dict[str, Interval]]:
    """Every construction, by what it is about: the first model's figure, and the second's minus it."""
    if len(first) > 1:
        return over_trainings(first, second, figure)
    return {"single": single(first[0], figure), "difference": paired(first[0], second[0], figure)}


def over_trainings(first: list[Resamples], second: list[Resamples], figure: str) -> dict[str, dict[str, Interval]]:
    """Intervals of a mean over trainings and of a difference of means; a plain bootstrap redraws trainings too."""
    rng = np.random.default_rng(0)
    means = [np.mean([one.point[figure] for one in side]) for side in (first, second)]
    redrawn = []
    for side in (first, second):
        values = np.stack([one.bootstrap[figure] for one in side])
        chosen = rng.integers(len(side), size=values.shape)
        redrawn.append(np.take_along_axis(values, chosen, axis=0).mean(axis=0))
    low, high = percentiles(redrawn[0], 0.95)
    difference = Interval(float(means[1] - means[0]), *percentiles(redrawn[1] - redrawn[0], 0.95))
    return {
        "mean": {
            "percentile": Interval(float(means[0]), low, high),
            "images alone": interval([_average(first)], figure),
            "chosen: interval": interval(first, figure),
        },
        "difference of means": {
            "percentile": difference,
            "images alone": paired_difference([_average(first)], [_average(second)], figure),
            "chosen: paired_difference": paired_difference(first, second, figure),
        },
    }


def _average(trainings: list[Resamples]) -> Resamples:
    parts = {
        part: {name: np.mean([getattr(one, part)[name] for one in trainings], axis=0) for name in FIGURES}
        for part in ("point", "bootstrap", "jackknife")
    }
    return trainings[0]._replace(**parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200, help="images in a draw (default 200, as the embedded data)")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=300)
    parser.add_argument("--categories", type=int, default=45, help="a multiple of 3 (default 45)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trainings", type=int, default=1, help="of each model (default 1)")
    options = parser.parse_args()
    start = time.perf_counter()
    table = simulate(**vars(options))
    for name, figures in table.items():
        print(f"{name:68} coverage {figures['coverage']:.3f}  width {figures['width']:.4f}")
    print(json.dumps({**vars(options), "seconds": round(time.perf_counter() - start, 1), "table": table}))


if __name__ == "__main__":
    main()
