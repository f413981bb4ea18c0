"""Intervals of the summary: of single figures, and of differences between activations on the same draws."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from gumbel.analysis.weight_norms import RANGES, resampled_statistics
from gumbel.evaluation import bootstrap
from gumbel.evaluation.bootstrap import Resamples
from gumbel.evaluation.metrics import SHOWN
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.words import STATISTICS

#: An activation under a scoring.
Scored = tuple[str, str]
#: A kind of overlap, or a stage of the classifier, and a figure of it.
Figure = tuple[str, str]
#: Resamples by seed and kind of overlap or stage.
Trainings = dict[int, dict[str, Resamples]]

#: What stands for a statistic's mean over the stages.
STAGES = "mean"


def bounds(path: Path) -> dict[Figure, tuple[float, float]]:
    """95 % interval of every figure of a cell, by kind of overlap and metric; empty where nothing was resampled."""
    if not path.exists():
        return {}
    return {
        (iou_type, metric): bootstrap.interval([one], metric)[1:]
        for iou_type, one in bootstrap.load(path).items()
        for metric in one.point
    }


def rows(experiment: Experiment) -> Iterator[dict[str, Any]]:
    """Every row of the summary that is made of resamples: figures of the first split, and of the weight norms."""
    for architecture in experiment.architectures:
        trained = {side: load_seeds(experiment, architecture, side) for side in sides(experiment)}
        split = {"split": experiment.splits[0]}
        for row in [*mean_rows(trained, SHOWN), *paired_rows(trained, SHOWN), *above_zero_rows(trained)]:
            kind, figure = row.pop("figure")
            yield row | split | {"architecture": architecture, "iou_type": kind, "metric": figure}
        norms = {(name, "matched"): _norms(experiment, architecture, name) for name in experiment.activations}
        stages = sorted({stage for side in norms.values() for one in side.values() for stage in one} - {STAGES})
        means = mean_rows(norms, [(stage, name) for stage in stages for name in STATISTICS], RANGES)
        for row in [*means, *paired_rows(norms, [(STAGES, name) for name in STATISTICS])]:
            stage, statistic = row.pop("figure")
            more = {"text": stage} if row["source"] == "mean" else {}
            row |= {"source": f"norm_{row['source']}", "architecture": architecture, "metric": statistic}
            yield row | {"scoring": None} | more


def mean_rows(
    sides: dict[Scored, Trainings],
    figures: Iterable[Figure],
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Iterator[dict[str, Any]]:
    """Means over the seeds of every side, with their 95 % intervals; figures are in [0, 1] or in their ``ranges``."""
    for side, trainings in sides.items():
        for kind, figure in figures if trainings else ():
            try:
                found = bootstrap.interval(_of(trainings, kind), figure, within=ranges.get(figure, (0, 1)))
            except ValueError as error:
                warnings.warn(f"no interval for {'/'.join(side)}: {error}", stacklevel=2)
                break
            yield _row("mean", side, (kind, figure), found)


def paired_rows(sides: dict[Scored, Trainings], figures: Iterable[Figure]) -> Iterator[dict[str, Any]]:
    """Differences between the sides of an architecture, over the seeds that both have, with their 95 % intervals.

    ``text`` names what is subtracted, ``error`` is the Monte-Carlo error of the bounds. With several seeds, an interval
    also holds the spread of trainings; an interval from one seed says nothing about other trainings.
    """
    for of, against in permutations(sides, 2):
        seeds = [seed for seed in sides[of] if seed in sides[against]]
        for kind, figure in figures if seeds else ():
            first, second = (_of({seed: sides[side][seed] for seed in seeds}, kind) for side in (against, of))
            try:
                found = bootstrap.paired_difference(first, second, figure)
            except ValueError as error:
                warnings.warn(f"no interval for {'/'.join(of)} against {'/'.join(against)}: {error}", stacklevel=2)
                break
            more = {"text": "/".join(against), "error": bootstrap.monte_carlo_error(first, second, figure)}
            yield _row("paired", of, (kind, figure), found) | more


def above_zero_rows(sides: dict[Scored, Trainings]) -> Iterator[dict[str, Any]]:
    """How many categories of a group are above 0, in the mean over seeds; the text says of how many."""
    for side, trainings in sides.items():
        for kind, figure in SHOWN if trainings else ():
            of_each = [one.categories[figure] for one in _of(trainings, kind) if figure in one.categories]
            if of_each:
                values = np.mean(of_each, axis=0)
                counts = (values > 0).sum(), np.nan, np.nan
                yield _row("above_zero", side, (kind, figure), counts) | {"text": str((~np.isnan(values)).sum())}


def _row(source: str, side: Scored, figure: Figure, found: Sequence[float]) -> dict[str, Any]:
    row = {"source": source, "activation": side[0], "scoring": side[1], "figure": figure}
    return row | dict(zip(("value", "low", "high"), found, strict=True))


def _of(trainings: Trainings, kind: str) -> list[Resamples]:
    return [training[kind] for training in trainings.values()]


def sides(experiment: Experiment) -> list[Scored]:
    """Every activation of an experiment under every scoring."""
    return [(name, scoring) for name in experiment.activations for scoring in matrix.scorings(experiment, name)]


def load_seeds(experiment: Experiment, architecture: str, side: Scored) -> Trainings:
    """Resamples of an activation by seed; seeds without, or with a damaged file (the cell says so), are left out."""
    activation, scoring = side
    found = {}
    for seed in experiment.seeds:
        cell = matrix.Cell(architecture, activation, seed).paths(experiment)
        with suppress(FileNotFoundError, ValueError, BadZipFile):
            found[seed] = bootstrap.load(cell.bootstrap(experiment.splits[0], scoring))
    return found


def _norms(experiment: Experiment, architecture: str, activation: str) -> Trainings:
    """Resampled statistics of the weight norms by seed, of every stage and of their mean."""
    found: Trainings = {}
    for seed in experiment.seeds:
        cell = matrix.Cell(architecture, activation, seed).paths(experiment)
        with suppress(FileNotFoundError, ValueError):
            stages = resampled_statistics(pd.read_parquet(cell.weight_norms))
            found[seed] = {str(stage): one for stage, one in stages.items()} | {STAGES: _mean(list(stages.values()))}
    return found


def _mean(stages: Sequence[Resamples]) -> Resamples:
    parts: dict[str, Any] = {
        part: {name: np.mean([getattr(one, part)[name] for one in stages], axis=0) for name in stages[0].point}
        for part in ("point", "bootstrap", "jackknife")
    }
    return stages[0]._replace(**parts)
