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
        (iou_type, metric): bootstrap.interval([one], metric)[1:]
        for iou_type, one in bootstrap.load(path).items()
        for metric in one.point
    }


def mean_rows(experiment: Experiment, root: Path) -> Iterator[dict[str, Any]]:
    """Means over the seeds of every activation and scoring, as rows of the summary, with their 95 % intervals."""
    for architecture in experiment.architectures:
        for side in sides(experiment):
            seeds = list(load_seeds(experiment, architecture, side, root).values())
            for iou_type, metric in METRICS if seeds else ():
                try:
                    found = bootstrap.interval([seed[iou_type] for seed in seeds], metric)
                except ValueError as error:
                    warnings.warn(f"no interval for {'/'.join(side)} of {architecture}: {error}", stacklevel=2)
                    break
                yield _row("mean", architecture, side, iou_type, metric, found)


def paired_rows(experiment: Experiment, root: Path) -> Iterator[dict[str, Any]]:
    """Differences between the activations of an architecture, as rows of the summary, with their 95 % intervals.

    ``text`` names what is subtracted. With several seeds, an interval also holds the spread of trainings, each
    activation's for itself; an interval from one seed says nothing about other trainings.
    """
    for architecture in experiment.architectures:
        trained = {side: load_seeds(experiment, architecture, side, root) for side in sides(experiment)}
        for of, against in permutations(trained, 2):
            seeds = [seed for seed in trained[of] if seed in trained[against]]
            for iou_type, metric in METRICS if seeds else ():
                first, second = ([trained[side][seed][iou_type] for seed in seeds] for side in (against, of))
                try:
                    found = bootstrap.paired_difference(first, second, metric)
                except ValueError as error:
                    pair = f"{'/'.join(of)} against {'/'.join(against)}"
                    warnings.warn(f"no interval for {pair} of {architecture}: {error}", stacklevel=2)
                else:
                    yield _row("paired", architecture, of, iou_type, metric, found) | {"text": "/".join(against)}


def _row(
    source: str, architecture: str, side: Scored, iou_type: str, metric: str, found: tuple[float, float, float]
) -> dict[str, Any]:
    row = {"source": source, "architecture": architecture, "activation": side[0], "scoring": side[1]}
    return row | {"iou_type": iou_type, "metric": metric} | dict(zip(("value", "low", "high"), found, strict=True))


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
