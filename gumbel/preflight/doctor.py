"""All checks of an experiment, what its trainings will cost, and the verdict."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import write_json
from gumbel.paths import ExperimentPaths
from gumbel.preflight import checks, trial
from gumbel.preflight.cells import examine
from gumbel.preflight.checks import Check
from gumbel.preflight.costs import Cost, calibrated, table

PARTS = ("gpu", "data")


def doctor(experiment: Experiment, output: Path | None = None, skip: Iterable[str] = ()) -> None:
    """Look at everything that can be known before a training, print it, and keep it at ``output``.

    The costs rest on the experiment's trial: on a GPU, its missing rows are tried first. Without a trial they rest on
    a published training.

    Args:
        experiment: whose cells are built and counted.
        output: where the record is kept (JSON).
        skip: ``gpu`` where this machine has none, ``data`` where the data is not there yet.

    Raises:
        ValueError: a check failed; the message names it. All were made and printed before.
    """
    skip = set(skip)
    done = [checks.versions(), checks.operators("cpu")]
    if "gpu" not in skip:
        done += [*checks.drivers(), checks.operators("cuda")]
    done += checks.writing(experiment)
    if "data" not in skip:
        done += checks.data(experiment)
    for check in done:
        print(check, flush=True)
    examined = _trained(experiment)
    measured = _trial(experiment, examined, "gpu" not in skip)
    costs = []
    for cell in examined:
        found, cost = examine(experiment, cell, measured)
        costs.append(cost)
        done += _told(found)
    costs = calibrated(costs)
    largest = max((cost.memory_bytes for cost in costs), default=0.0)
    if "gpu" not in skip:
        done += _told(checks.gpus(experiment.gpus, largest))
    done += _told([checks.disk(experiment, [cost.parameters for cost in costs])])
    print(table(costs, len(experiment.seeds), measured))
    failed = [check for check in done if not check.passed]
    if output:
        write_json(output, _record(done, costs, measured, skip))
    skipped = f"; skipped: {', '.join(sorted(skip))}" if skip else ""
    print(f"{len(done) - len(failed)} of {len(done)} checks passed{skipped}")
    if failed:
        names = "; ".join(f"{check.name} ({check.found})" for check in failed)
        raise ValueError(f"expected every check to pass, found {len(failed)} that did not: {names}")


def _told(found: Iterable[Check]) -> list[Check]:
    """``found``, each printed as it comes."""
    told = []
    for check in found:
        print(check, flush=True)
        told.append(check)
    return told


def _trained(experiment: Experiment) -> list[matrix.Cell]:
    """A cell of each architecture and activation that is trained."""
    cells = matrix.cells(experiment)
    return [cell for cell in cells if cell.seed == experiment.seeds[0] and str(cell) not in experiment.checkpoints]


def _trial(experiment: Experiment, cells: Iterable[matrix.Cell], wanted: bool) -> trial.Trial | None:
    """The trial that is kept of the experiment; where there is a GPU, with a row of it for each of ``cells``."""
    path = ExperimentPaths(experiment.name).trial
    kept = trial.read(path)
    if not (wanted and torch.cuda.is_available()):
        return kept
    here = kept if kept and kept.device == trial.device_name("cuda") else None
    missing: dict[str, int] = {}
    for cell in cells:
        training = experiment.training_of(cell.architecture, cell.activation)
        if here is None or here.row(cell.architecture, training) is None:
            missing[f"{cell.architecture}/{trial.mode_of(training)}"] = training.images_per_gpu
    if not missing:
        return here
    return trial.trial(experiment, path, list(missing), sorted(set(missing.values())), "cuda")


def _record(done: list[Check], costs: list[Cost], measured: trial.Trial | None, skip: set[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        "passed": all(check.passed for check in done),
        "skipped": sorted(skip),
        "checks": [asdict(check) for check in done],
        "costs": [asdict(cost) for cost in costs],
        "trial": asdict(measured) if measured else None,
    }
