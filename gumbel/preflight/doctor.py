"""All checks of an experiment, what its trainings will cost, and the verdict."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from gumbel.detection.compose import warm_start_config
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import write_json
from gumbel.paths import ExperimentPaths
from gumbel.preflight import checks, trial
from gumbel.preflight.cells import examine
from gumbel.preflight.checks import Check
from gumbel.preflight.costs import calibrated, table


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
    done: list[Check] = []

    def tell(*found: Check) -> None:
        for check in found:
            print(check, flush=True)
        done.extend(found)

    tell(checks.versions(), checks.operators("cpu"))
    if "gpu" not in skip:
        tell(*checks.drivers(), checks.operators("cuda"))
    tell(*checks.writing(experiment), checks.splits(experiment), *checks.trackers(experiment))
    if "data" not in skip:
        tell(*checks.data(experiment))
    if experiment.warm_start:
        for architecture in experiment.architectures:  # refuses a schedule or a warm-up that does not fit
            warm_start_config(experiment, architecture)
    cells = matrix.cells(experiment)
    # Of each architecture and activation that is trained, one
    examined = [cell for cell in cells if cell.seed == experiment.seeds[0] and str(cell) not in experiment.checkpoints]
    measured = _trial(experiment, examined, "gpu" not in skip)
    costs = []
    for cell in examined:
        found, cost = examine(experiment, cell, measured)
        costs.append(cost)
        tell(*found)
    costs = calibrated(costs)
    if "gpu" not in skip:
        tell(*checks.gpus(experiment.gpus, max((cost.memory_bytes for cost in costs), default=0.0)))
    tell(checks.disk(experiment, [cost.parameters for cost in costs]))
    print(table(costs, len(experiment.seeds), measured))
    failed = [check for check in done if not check.passed]
    if output:
        record = {
            "schema": 1,
            "passed": not failed,
            "skipped": sorted(skip),
            "checks": [asdict(check) for check in done],
            "costs": [asdict(cost) for cost in costs],
            "trial": asdict(measured) if measured else None,
        }
        write_json(output, record)
    skipped = f"; skipped: {', '.join(sorted(skip))}" if skip else ""
    print(f"{len(done) - len(failed)} of {len(done)} checks passed{skipped}")
    if failed:
        names = "; ".join(f"{check.name} ({check.found})" for check in failed)
        raise ValueError(f"expected every check to pass, found {len(failed)} that did not: {names}")


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
