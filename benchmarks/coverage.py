"""How often a nominal 95 % interval holds the truth, for every interval that the page prints.

    python benchmarks/coverage.py --images 200 --draws 200
    python benchmarks/coverage.py --trainings 3        # also draws trainings, for intervals of their mean

A population of 6,000 images and five times as many long-tailed categories as are drawn, with federated negatives and
two models of different skill, is simulated at the level of ranked true and false positives. Each draw takes
``--images`` and ``--categories`` of it, forms every interval, and looks whether the truth lies inside: AP of the drawn
categories on all images; APr, APc and APf of all categories. With several trainings, each model has a pool of them,
each with a skill of its own in general and in every category; the truth is the pool's mean, and a draw takes as many of
each. Weight norms have a population, a pool and draws of their own. Prints coverage and mean width; the last line is
JSON.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from gumbel.analysis.weight_norms import norm_statistics, resampled_statistics
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
from gumbel.evaluation.metrics import OF_GROUPS
from gumbel.evaluation.protocol import IOU_THRESHOLDS
from gumbel.evaluation.weighted_ap import of_categories
from gumbel.report.verdicts import trainings as spreads

POPULATION, TIMES = 6_000, 5  # images, and categories for each that is drawn
SKILLS = (0.0, 0.25)
POOL, UNSTEADY = 6, 0.05  # trainings of a model, and the standard deviation of their skill
PUBLISHED = 5  # trainings behind a published spread
FIGURES = ("AP", "AP50", "APr", "APc", "APf")
PREVALENCE = {"r": (0.01, 0.02), "c": (0.02, 0.06), "f": (0.06, 0.3)}  # share of images with the category
NEGATIVE = 0.08  # share of images that list a category as absent
NOTHING = Ranking(*[np.zeros(0, np.int64)] * 6)
SLOPES = (0.2, 0.05)  # of the weight norms of two models on the frequency of the category

#: Whether intervals held the truth, and their widths, by what they are of.
Found = defaultdict[tuple[str, str, str], list[tuple[bool, float]]]


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
        own = quality + skill + UNSTEADY * rng.normal() + rng.normal(0, 0.5, len(objects))
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


def take(matches: Matches, images: np.ndarray, categories: np.ndarray) -> Matches:
    """The data set of these images and categories alone; a category may be named several times."""
    place = np.full(len(matches.images), -1)
    place[images] = np.arange(len(images))
    whole = matches.rankings[0]
    pieces = []
    for number, k in enumerate(categories):
        found, objects = (
            slice(*np.searchsorted(column, [k, k + 1])) for column in (whole.category, whole.object_category)
        )
        kept, present = (
            np.flatnonzero(place[column] >= 0) for column in (whole.image[found], whole.object_image[objects])
        )
        rows = [column[found][kept] for column in (whole.image, whole.true, whole.counted)]
        object_image = place[whole.object_image[objects][present]]
        own = np.full(len(kept), number), place[rows[0]], *rows[1:]
        pieces.append((*own, np.full(len(present), number), object_image))
    ranking = Ranking(*map(np.concatenate, zip(*pieces, strict=True)))
    return Matches([ranking, NOTHING, NOTHING, NOTHING], matches.images[images], matches.frequencies[categories])


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
    models = population(rng, TIMES * categories, skills)
    truths = [of_each_category(model) for model in models]
    group = categories // 3
    found: Found = defaultdict(list)
    for draw in range(draws):
        chosen = np.sort(rng.choice(POPULATION, images, replace=False))
        kinds = np.concatenate([part * TIMES * group + rng.integers(TIMES * group, size=group) for part in range(3)])
        places = [start + rng.integers(pool, size=trainings + PUBLISHED) for start in (0, pool)]
        sides = [
            [resample(take(models[k], chosen, kinds), replicates, draw) for k in side[:trainings]] for side in places
        ]
        published = [truths[k]["AP"][kinds].mean() for k in places[0][-PUBLISHED:]]
        for figure in FIGURES:
            rows = models[0].frequencies == figure[-1] if figure in OF_GROUPS else kinds
            name = "AP50" if figure == "AP50" else "AP"
            means = [np.mean([truths[k][name][rows].mean() for k in range(start, start + pool)]) for start in (0, pool)]
            values = {"mean": means[0], "differences": means[1] - means[0]}
            if pool > 1:  # of exchangeable trainings, one that somebody else published
                *ours, theirs = (truths[k][name][kinds].mean() for k in rng.permutation(pool)[: trainings + 1])
                reach = spreads.own(ours).reach(trainings, 1)
                within = abs(np.mean(ours) - theirs) <= reach
                found["published number", figure, "chosen: spread of ours"].append((within, 2 * reach))
            for kind, of, made in candidates(sides, figure, trainings, published):
                value = values[{"single": "mean", "difference": "differences"}.get(kind, kind)]
                found[kind, figure, of].append((made.low <= value <= made.high, made.high - made.low))
    simulate_norms(found, draws, replicates, categories, seed, trainings)
    return {
        " | ".join(key): dict(zip(("coverage", "width"), np.nanmean(rows, axis=0).tolist(), strict=True))
        for key, rows in found.items()
    }


def of_each_category(model: Matches) -> dict[str, np.ndarray]:
    """AP and AP50 of each category (K,), on all images."""
    precision = of_categories(model, np.ones((1, POPULATION)), np.mean).precision[0][..., 0]
    return {"AP": precision.mean(axis=0), "AP50": precision[0]}


def candidates(
    sides: list[list[Resamples]], figure: str, trainings: int, published: Sequence[float]
) -> Iterator[tuple[str, str, Interval]]:
    """Every construction, by what it is about: the first model's figure, or the second's minus it."""
    if trainings == 1:
        first, second = (side[0] for side in sides)
        yield from (("single", of, made) for of, made in single(first, figure).items())
        yield from (("difference", of, made) for of, made in paired(first, second, figure).items())
        return
    first, second = sides
    yield "mean", "images alone", interval([_average(first)], figure)
    yield "mean", "chosen: interval", interval(first, figure)
    yield "differences", "images alone", paired_difference([_average(first)], [_average(second)], figure)
    yield "differences", "chosen: paired_difference", paired_difference(first, second, figure)
    if figure == "AP":
        estimate, low, high = paired_difference(first[:1], second[:1], figure)
        reach = np.hypot((high - low) / 2, spreads.own(published).reach(1, 1))
        centre = (low + high) / 2
        yield "differences", "chosen: published spread, one each", Interval(estimate, centre - reach, centre + reach)
        yield "differences", "one each, images alone", Interval(estimate, low, high)


def simulate_norms(found: Found, draws: int, replicates: int, categories: int, seed: int, trainings: int) -> None:
    """Intervals of the statistics of weight norms over categories and trainings."""
    rng = np.random.default_rng(seed)
    pool, number = (1 if trainings == 1 else POOL), 5_000
    images = np.exp(rng.uniform(0, 8, number)).round().astype(int)
    group = np.where(images <= 10, "r", np.where(images <= 100, "c", "f"))
    kind = rng.normal(0, 0.1, number)
    tables = []
    for slope in (slope for slope in SLOPES for _ in range(pool)):
        own = (slope + UNSTEADY * rng.normal()) * (np.log(images) / 8 - 0.5)
        norm = 1.5 + own + kind + rng.normal(0, 0.05, number)
        columns = {"stage": 0, "category_id": np.arange(number), "norm": norm, "image_count": images}
        tables.append(pd.DataFrame(columns | {"frequency": group}))
    truth = [norm_statistics(table)[0] for table in tables]
    for _ in range(draws):
        kinds = rng.integers(number, size=categories)
        sides = [
            [
                resampled_statistics(tables[start + k].iloc[kinds], replicates)[0]
                for k in rng.integers(pool, size=trainings)
            ]
            for start in (0, pool)
        ]
        for name in truth[0]:
            means = [np.mean([one[name] for one in truth[start : start + pool]]) for start in (0, pool)]
            for what, value, made in (
                ("norms", means[0], interval(sides[0], name, within=(-np.inf, np.inf))),
                ("norms' difference", means[1] - means[0], paired_difference(*sides, name)),
            ):
                found[what, name, "chosen"].append((made.low <= value <= made.high, made.high - made.low))


def _average(trainings: list[Resamples]) -> Resamples:
    parts = {
        part: {name: np.mean([getattr(one, part)[name] for one in trainings], axis=0) for name in FIGURES}
        for part in ("point", "bootstrap", "jackknife")
    }
    return trainings[0]._replace(**parts, categories={})


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
