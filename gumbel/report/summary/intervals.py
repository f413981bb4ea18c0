"""Intervals of the summary: of single figures, and of differences between activations on the same images."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from gumbel.evaluation import bootstrap
from gumbel.evaluation.bootstrap import Resamples
from gumbel.evaluation.metrics import SHOWN as METRICS
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CellPaths

#: An activation under a scoring.
Scored = tuple[str, str]


def bounds(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """95 % interval of every figure of a cell, by kind of overlap and metric; empty where nothing was resampled."""
    if not path.exists():
        return {}
    return {
        (iou_type, metric): bootstrap.interval(one, metric)[1:]
        for iou_type, one in bootstrap.load(path).items()
        for metric in one.point
    }


def mean_rows(experiment: Experiment, root: Path) -> Iterator[dict[str, Any]]:
    """Means over the seeds of every activation and scoring, as rows of the summary, with their 95 % intervals."""
    for architecture in experiment.architectures:
        for activation, scoring in sides(experiment):
            seeds = list(load_seeds(experiment, architecture, (activation, scoring), root).values())
            for iou_type, metric in METRICS if seeds else ():
                try:
                    value, low, high = bootstrap.interval_over_seeds([seed[iou_type] for seed in seeds], metric)
                except ValueError as error:
                    warnings.warn(f"no interval for {activation}/{scoring} of {architecture}: {error}", stacklevel=2)
                    break
                yield {
                    "architecture": architecture,
                    "activation": activation,
                    "scoring": scoring,
                    "source": "mean",
                    "iou_type": iou_type,
                    "metric": metric,
                    "value": value,
                    "low": low,
                    "high": high,
                }


def paired_rows(experiment: Experiment, root: Path) -> Iterator[dict[str, Any]]:
    """Differences between the activations of an architecture, as rows of the summary, with their 95 % intervals.

    ``text`` names what is subtracted. With several seeds, an interval also holds the spread of trainings, each
    activation's for itself; an interval from one seed says nothing about other trainings.
    """
    for architecture in experiment.architectures:
        found = {side: load_seeds(experiment, architecture, side, root) for side in sides(experiment)}
        for of, against in permutations([side for side in found if found[side]], 2):
            for figure in METRICS:
                yield from _paired_row(architecture, of, against, found, figure)


def sides(experiment: Experiment) -> list[Scored]:
    """Every activation of an experiment under every scoring."""
    return [(name, scoring) for name in experiment.activations for scoring in matrix.scorings(experiment, name)]


def load_seeds(experiment: Experiment, architecture: str, side: Scored, root: Path) -> dict[int, dict[str, Resamples]]:
    """Resamples of an activation by seed; seeds without, or with a damaged file (the cell says so), are left out."""
    activation, scoring = side
    found = {}
    for seed in experiment.seeds:
        cell = CellPaths(root / matrix.Cell(architecture, activation, seed).paths(experiment).root)
        path = cell.bootstrap(experiment.splits[0], scoring)
        with suppress(FileNotFoundError, ValueError, BadZipFile):
            found[seed] = bootstrap.load(path)
    return found


def _paired_row(
    architecture: str,
    of: Scored,
    against: Scored,
    sides: dict[Scored, dict[int, dict[str, Resamples]]],
    figure: tuple[str, str],
) -> Iterator[dict[str, Any]]:
    iou_type, metric = figure
    seeds = [seed for seed in sides[of] if seed in sides[against]]
    if not seeds:
        return
    first, second = ([sides[side][seed][iou_type] for seed in seeds] for side in (against, of))
    try:
        value, low, high = bootstrap.difference_over_seeds(first, second, metric)
    except ValueError as error:
        warnings.warn(
            f"no interval for {'/'.join(of)} against {'/'.join(against)} of {architecture}: {error}", stacklevel=2
        )
        return
    yield {
        "architecture": architecture,
        "activation": of[0],
        "scoring": of[1],
        "source": "paired",
        "iou_type": iou_type,
        "metric": metric,
        "value": value,
        "low": low,
        "high": high,
        "text": "/".join(against),
    }
