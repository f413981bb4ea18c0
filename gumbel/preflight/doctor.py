"""All checks of an experiment, what its trainings will cost, and the verdict."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import write_json
from gumbel.preflight import checks
from gumbel.preflight.cells import PASSES, SUSTAINED, Cost, Trial, examine, trial
from gumbel.preflight.checks import Check

PARTS = ("gpu", "data")


def doctor(experiment: Experiment, output: Path | None = None, skip: Iterable[str] = ()) -> None:
    """Look at everything that can be known before a training, print it, and keep it at ``output``.

    Without a GPU the costs rest on the trial that an earlier ``output`` holds, or else on a published speed.

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
        done.append(checks.operators("cuda"))
    done += checks.writing(experiment)
    if "data" not in skip:
        done += checks.data(experiment)
    for check in done:
        print(check, flush=True)
    measured = _trial(experiment, output, "gpu" not in skip)
    costs = []
    for cell in matrix.cells(experiment):
        if cell.seed == experiment.seeds[0] and str(cell) not in experiment.checkpoints:
            found, cost = examine(experiment, cell, _sustained(measured))
            costs.append(cost)
            done += _told(found)
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


def _trial(experiment: Experiment, output: Path | None, wanted: bool) -> Trial | None:
    """A trial on this machine's GPU, or the one that is kept at ``output``."""
    if wanted and torch.cuda.is_available():
        return trial(experiment, "cuda")
    if output and output.exists() and (kept := json.loads(output.read_text()).get("trial")):
        return Trial(**kept)
    return None


def _sustained(measured: Trial | None) -> float:
    return SUSTAINED if measured is None else PASSES * measured.flops / measured.seconds


def table(costs: list[Cost], seeds: int, measured: Trial | None) -> str:
    """Iterations, GPU-hours and memory of every cell, their sum, and the time that N GPUs need for it."""
    head = (
        f"{'cell':<34} {'iterations':>10} {'GFLOP/image':>12} {'parameters':>11} {'GPU memory':>11} {'GPU-hours':>10}"
    )
    lines = [head]
    for cost in costs:
        lines.append(
            f"{cost.cell:<34} {cost.iterations:>10,} {cost.flops / 1e9:>12,.1f} {cost.parameters / 1e6:>9,.1f} M"
            f" {cost.memory_bytes / 1e9:>8,.1f} GB {cost.seconds / 3600:>10,.2f}"
        )
    total = seeds * sum(cost.seconds for cost in costs) / 3600
    trainings = f"{len(costs)} trainings" + (f" x {seeds} seeds" if seeds > 1 else "")
    lines.append(f"{trainings}: {total:,.2f} GPU-hours")
    longest = max((cost.seconds / cost.gpus for cost in costs), default=0.0) / 3600
    walls = ", ".join(f"{number} GPUs {max(total / number, longest):,.1f} h" for number in (1, 4, 8, 16))
    lines.append(f"wall time at best, predictions aside: {walls}")
    if measured:
        lines.append(f"from {measured.steps} steps on {measured.device}: {measured.seconds:.3f} s each")
    else:
        lines.append(
            f"not measured: {SUSTAINED / 1e12:.0f} TFLOP/s sustained, as a V100 in mmdet's model zoo; memory is "
            "weights, gradients, momentum and what the backward pass keeps"
        )
    return "\n".join(lines)


def _record(done: list[Check], costs: list[Cost], measured: Trial | None, skip: set[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        "passed": all(check.passed for check in done),
        "skipped": sorted(skip),
        "checks": [asdict(check) for check in done],
        "costs": [asdict(cost) for cost in costs],
        "trial": asdict(measured) if measured else None,
    }
