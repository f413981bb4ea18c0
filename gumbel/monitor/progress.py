"""How far an experiment is: one line a training, read from the files that its jobs leave.

Nothing is asked of Snakemake or SLURM, so it works on any host that sees the files, during a run and after it.
"""

import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import psutil

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest, status
from gumbel.jobs.status import Status
from gumbel.paths import CellPaths, ExperimentPaths, TrainingPaths
from gumbel.words import activation_name, architecture_name, duration, percent

Record = TypeVar("Record")

#: A training reports every few seconds, and less often while it loads its data.
STALE_SECONDS = 180.0
#: A prediction of LVIS may be silent for as long as the cluster lets it run.
SILENT_SECONDS = 4 * 3600.0

#: Share of its time that a training may wait for data without a word.
WORTH_TELLING = 0.05

State = Literal["running", "stalled?", "interrupted", "evaluating", "failed", "queued", "waiting", "done"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Failure:
    """Why the last attempt of a job ended."""

    reason: str
    log: Path


@dataclass(frozen=True)
class Line:
    """How far one training is: a cell, or the warm start of an architecture (activation and seed are None).

    ``seconds`` of training lie behind it and ``total`` are expected in all, times its processes; None where nothing
    of its kind has run yet. ``share`` of the training is done, from 0 to 1.
    """

    architecture: str
    activation: str | None
    seed: int | None
    state: State
    detail: str = ""
    share: float = 0.0
    seconds: float = 0.0
    total: float | None = None
    gpu: bool = False
    failure: Failure | None = None

    @property
    def left(self) -> float | None:
        return None if self.total is None else max(0.0, self.total - self.seconds)


@dataclass(frozen=True)
class Step:
    """A job of a cell after its training: its name, which is its log's too, and the files that it writes.

    Nobody misses one any more where the file of ``later`` is there that was made from it.
    """

    name: str
    outputs: tuple[Path, ...]
    later: tuple[Path, ...] = ()

    def is_done(self) -> bool:
        made = zip_longest(self.outputs, self.later)
        return all(path.exists() or (later and later.exists()) for path, later in made)


def lines(experiment: Experiment, now: float | None = None) -> list[Line]:
    """One line a warm start and a cell, in the order of the matrix; ``now`` is in seconds since 1970.

    A damaged or missing file never raises: its training is told by what else is there.
    """
    now = time.time() if now is None else now
    paths = ExperimentPaths(experiment.name)
    found = []
    if experiment.warm_start:
        needs = [matrix.data(experiment).annotations(experiment.warm_start.split)]
        for architecture in experiment.architectures:
            line = Line(architecture, None, None, "waiting")
            found.append(_training(line, paths.warm_start(architecture), needs, now))
    found += [_cell(cell, experiment, now) for cell in matrix.cells(experiment)]
    return _with_totals(found)


def counts(found: list[Line]) -> dict[State, int]:
    """How many cells are in each state that occurs."""
    numbers = {state: sum(line.state == state and line.activation is not None for line in found) for state in STATES}
    return {state: number for state, number in numbers.items() if number}


def headline(experiment: Experiment, found: list[Line]) -> str:
    """How many cells are in which state."""
    numbers = counts(found)
    states = ", ".join(f"{number} {state}" for state, number in numbers.items())
    return f"{experiment.name}, {sum(numbers.values())} cells: {states}"


def hours(found: list[Line]) -> str:
    """Hours of training spent and left, summed over processes, warm starts included."""
    unit = "GPU-hours" if any(line.gpu for line in found) else "training hours"
    spent, left = sum(line.seconds for line in found), sum(line.left or 0.0 for line in found)
    unknown = sum(line.left is None for line in found)
    words = f"{_hours(spent)} {unit} spent" + (f", about {_hours(left)} left" if left else "")
    return f"{words}, and {unknown} trainings of unknown length{'' if left else ' left'}" if unknown else words


def failures(experiment: Experiment, found: list[Line]) -> list[tuple[str, Failure]]:
    """What failed, by name: trainings and what follows them, then jobs of the experiment itself, such as its page."""
    logs = sorted(ExperimentPaths(experiment.name).log("").parent.glob("*.log"))
    named = [*((_name(line), line.failure) for line in found), *((log.stem, failure(log)) for log in logs)]
    return [(name, failed) for name, failed in named if failed]


def quoted(failed: list[tuple[str, Failure]]) -> str:
    """Each failure with the path and the last lines of its log; empty where nothing failed."""
    return "\n".join(
        text
        for name, why in failed
        for text in (f"failed: {name}: {why.reason}", f"  {why.log}", *(f"  | {line}" for line in last_lines(why.log)))
    )


def last_words(experiment: Experiment) -> str:
    """What a workflow says that ends with failures: what failed and why, and how to go on."""
    failed = failures(experiment, lines(experiment))
    report = "a report of the others: snakemake --config allow_missing=true -- reports/summary.html"
    return "\n".join(filter(None, [quoted(failed), f"Going on: the same command again. Meanwhile {report}"]))


def steps(experiment: Experiment, cell: matrix.Cell) -> list[Step]:
    """Every job of a cell after its training, in the order in which they can run."""
    paths = cell.paths(experiment)
    scored = matrix.scored(experiment, cell.activation)
    split = experiment.splits[0]
    snapshots = [
        (f"{split}_matched_at_{percent}", at.predictions(split, "matched"), at.metrics(split, "matched"))
        for percent in matrix.snapshots(experiment, cell)
        for at in [paths.at(percent)]
    ]
    return [
        Step("predict", *zip(*((paths.predictions(*pair), paths.metrics(*pair)) for pair in scored), strict=True)),
        *(Step(f"evaluate_{s}_{c}", matrix.evaluated(experiment, paths, s, c)) for s, c in scored),
        Step("weight_norms", (paths.weight_norms,)),
        *(Step(f"predict_{name}", (predictions,), (metrics,)) for name, predictions, metrics in snapshots),
        *(Step(f"evaluate_{name}", (metrics,)) for name, _, metrics in snapshots),
    ]


def cell_failure(cell: matrix.Cell, experiment: Experiment) -> Failure | None:
    """The first job of a cell whose last attempt failed and whose file is not there."""
    paths = cell.paths(experiment)
    if failed := _training_failure(paths):
        return failed
    missing = (job for job in steps(experiment, cell) if not job.is_done())
    return next(filter(None, (failure(paths.log(job.name)) for job in missing)), None)


def failure(log: Path) -> Failure | None:
    """What a job said as it failed: every subcommand ends with ``gumbel STAGE: reason`` then."""
    last = last_lines(log, 30)
    start = next((number for number, line in enumerate(last) if re.match(r"gumbel [\w-]+: ", line)), None)
    return None if start is None else Failure(one_line("\n".join(last[start:]).partition(": ")[2]), log)


def last_lines(path: Path, number: int = 12) -> list[str]:
    """The last lines of a log that hold anything, without control characters; none where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    # Progress bars overwrite their line with \r, and escape sequences would act on the reader's terminal
    text = re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", text)
    kept = ("".join(c for c in line if c.isprintable() or c == "\t") for line in text.splitlines())
    return [line for line in kept if line.strip()][-number:]


def one_line(text: str, limit: int = 400) -> str:
    """``text`` on one line, cut where it is too long.

    >>> one_line("expected a\\n  b")
    'expected a b'
    """
    joined = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def _cell(cell: matrix.Cell, experiment: Experiment, now: float) -> Line:
    line = Line(cell.architecture, cell.activation, cell.seed, "waiting")
    paths = cell.paths(experiment)
    needs = [matrix.data(experiment).annotations("train")]
    if experiment.warm_start:
        needs.append(ExperimentPaths(experiment.name).warm_start(cell.architecture).checkpoint)
    line = _training(line, paths, needs, now)
    if line.state != "done":
        return line
    todo = steps(experiment, cell)
    missing = [job for job in todo if not job.is_done()]
    if not missing:
        return replace(line, detail=_precision(paths, experiment))
    if failed := cell_failure(cell, experiment):
        return replace(line, state="failed", detail=failed.reason, failure=failed)
    heard = {job.name: _modified(paths.log(job.name)) for job in missing}
    started = [name.replace("_", " ") for name, at in heard.items() if at]
    detail = f"trained; {len(todo) - len(missing)} of {len(todo)} jobs after it done"
    if not started:
        return replace(line, state="evaluating", detail=detail)
    silent = now - max(heard.values())
    state: State = "evaluating" if silent < SILENT_SECONDS else "stalled?"
    return replace(line, state=state, detail=f"{detail}; {', '.join(started)} for {duration(max(0.0, silent))}")


def _training(line: Line, paths: TrainingPaths, needs: list[Path], now: float) -> Line:
    """``line`` with what its training is at; it starts when ``needs`` are there."""
    said = tolerant(status.read, paths.status)
    if failed := _training_failure(paths):
        return _measured(replace(line, state="failed", detail=failed.reason, failure=failed), said)
    if said and said.state == "running":
        return _running(line, said, now)
    if said and said.state == "interrupted":
        detail = one_line(f"goes on from {_place(said)}; {said.message or ''}".rstrip("; "))
        return _measured(replace(line, state="interrupted", detail=detail), said)
    if _is_trained(paths):
        record = tolerant(manifest.read, paths.manifest) or {}
        seconds = _number(record.get("seconds")) * max(1.0, _number(record.get("world_size")))
        gpu = str(record.get("device", "")).startswith("cuda")
        return replace(line, state="done", share=1.0, seconds=seconds, total=seconds, gpu=gpu)
    if missing := [need for need in (paths.config, *needs) if not need.exists()]:
        return replace(line, detail=f"waits for {missing[0]}")
    started = _modified(paths.log("train"))
    if said is None and started:
        quiet = now - started
        begun: State = "running" if quiet < STALE_SECONDS else "stalled?"
        return replace(line, state=begun, detail=f"starting for {duration(max(0.0, quiet))}")
    return replace(line, state="queued", detail="has all that it needs")


def _running(line: Line, said: Status, now: float) -> Line:
    quiet = now - said.updated
    detail = _place(said)
    if said.loss is not None:
        detail += f", loss {said.loss:.3f}"
    if (said.waiting or 0.0) >= WORTH_TELLING:
        detail += f", waits for data {said.waiting:.0%} of the time"
    state: State = "running"
    if said.host == platform.node() and said.pid is not None and not psutil.pid_exists(said.pid):
        state, detail = "interrupted", f"{detail}; its process is gone"
    elif quiet > STALE_SECONDS:
        state, detail = "stalled?", f"{detail}; last heard of {duration(quiet)} ago"
    elif said.eta_seconds is not None:
        detail += f", ETA {duration(said.eta_seconds)}"
    where = [name for name in (said.host, said.gpu, said.slurm_job and f"SLURM job {said.slurm_job}") if name]
    where += [f"attempt {said.attempt}"] if said.attempt > 1 else []
    return _measured(replace(line, state=state, detail=one_line(", ".join([detail, *where]))), said)


def _measured(line: Line, said: Status | None) -> Line:
    """``line`` with the training time that lies behind it, lost work included, and before it."""
    if said is None:
        return line
    line = replace(line, seconds=said.processes * said.seconds, gpu=bool(said.gpu))
    if not 0 < said.iteration <= said.iterations:
        return line
    left = said.processes * (said.eta_seconds or 0.0)
    total = line.seconds + left if left or said.iteration == said.iterations else None
    return replace(line, share=said.iteration / said.iterations, total=total)


def _with_totals(found: list[Line]) -> list[Line]:
    """Let what has not run expect the mean of its architecture's other trainings of the same kind."""
    known: dict[tuple[str, bool], list[float]] = defaultdict(list)
    kinds = [(line.architecture, line.activation is None) for line in found]
    for line, kind in zip(found, kinds, strict=True):
        if line.total is not None:
            known[kind].append(line.total)
    means = {kind: sum(totals) / len(totals) for kind, totals in known.items()}
    pairs = zip(found, kinds, strict=True)
    return [line if line.total is not None else replace(line, total=means.get(kind)) for line, kind in pairs]


def _training_failure(paths: TrainingPaths) -> Failure | None:
    said = tolerant(status.read, paths.status)
    if said and said.state == "failed":
        return Failure(one_line(said.message or "training failed"), paths.log("train"))
    if (said and said.state in ("running", "interrupted")) or _is_trained(paths):
        return None
    return failure(paths.log("train" if paths.config.exists() else "config"))


def _is_trained(paths: TrainingPaths) -> bool:
    return paths.manifest.exists() and paths.history.exists()


def _precision(paths: CellPaths, experiment: Experiment) -> str:
    """Mask AP on the first split, as the cell was trained."""
    metrics = tolerant(manifest.read, paths.metrics(experiment.splits[0], "matched")) or {}
    figures = metrics.get("segm")
    known = {name: figures.get(name) for name in ("AP", "APr")} if isinstance(figures, dict) else {}
    words = (f"{name} {percent(value)}" for name, value in known.items() if isinstance(value, int | float | None))
    return ", ".join(words)


def _place(said: Status) -> str:
    return f"iteration {said.iteration}/{said.iterations}" if said.iterations else "starting"


def tolerant(read: Callable[[Path], Record], path: Path) -> Record | None:
    """What ``read`` finds at ``path``; None where it cannot be read."""
    try:
        return read(path)
    except (OSError, ValueError):
        return None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value == value else 0.0


def _modified(path: Path) -> float:
    """When a file was last written, in seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _name(line: Line) -> str:
    if line.activation is None:
        return f"{architecture_name(line.architecture)} warm start"
    return f"{architecture_name(line.architecture)} {activation_name(line.activation)}, seed {line.seed}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}" if seconds >= 3600 else f"{seconds / 3600:.2f}"
