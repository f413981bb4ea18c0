"""A trial of an experiment's models on this machine: rows of architecture and mode, each in a process of its own."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, get_args

import msgspec
import torch

from gumbel.experiment.schema import Experiment, Precision, Training
from gumbel.jobs.files import write_json

#: What may follow the precision in a mode, each after a "+".
SPEEDUPS = ("channels_last", "own_class_masks", "compile")
#: Modes that are tried unless others are named: every precision, and the last one with each of the speed-ups.
MODES = (*get_args(Precision), *(f"{get_args(Precision)[-1]}+{each}" for each in SPEEDUPS))
#: Part of a row's time in which is measured; the rest is for its start and end.
_MEASURING = 0.7


@dataclass(frozen=True)
class Step:
    """A training step: images in it, seconds, peak memory, and the share that each activation's loss would have."""

    images: int
    seconds: float
    memory_bytes: float
    loss_shares: dict[str, float]


@dataclass(frozen=True)
class Row:
    """What was found of an architecture in a mode, and why there is no more of it."""

    architecture: str
    mode: str
    steps: list[Step] = field(default_factory=list)
    images_per_second: float | None = None  #: of detection
    encoded_per_second: float | None = None  #: images whose masks a core encodes, which it does meanwhile
    seconds: float = 0.0  #: that the row took
    problem: str | None = None

    def __str__(self) -> str:
        return f"{self.architecture}/{self.mode}"

    def nearest(self, images: int) -> Step | None:
        """The step with the number of images that is nearest to ``images``."""
        return min(self.steps, key=lambda step: abs(step.images - images), default=None)


@dataclass(frozen=True)
class Trial:
    """Rows that were tried on a device."""

    experiment: str
    device: str
    torch: str
    cuda: str | None
    finished: str
    rows: list[Row]
    schema: int = 1

    def row(self, architecture: str, training: Training) -> Row | None:
        """The row of a cell that is trained so, if it was tried and had a result."""
        name = f"{architecture}/{mode_of(training)}"
        return next((row for row in self.rows if str(row) == name and row.steps), None)


def mode_of(training: Training) -> str:
    """The mode of a training: its precision, and each speed-up that it asks for."""
    return "+".join([training.precision, *(name for name in SPEEDUPS if getattr(training, name))])


def training_of(experiment: Experiment, mode: str) -> Training:
    """The experiment's training in another mode.

    Raises:
        ValueError: there is no such mode.
    """
    precision, *speedups = mode.split("+")
    if precision not in get_args(Precision) or not set(speedups) <= set(SPEEDUPS):
        known = f"{', '.join(get_args(Precision))}, with +{' or +'.join(SPEEDUPS)} behind"
        raise ValueError(f"expected a mode ({known}), found {mode!r}; name another")
    update = {"precision": precision, **{name: name in speedups for name in SPEEDUPS}}
    return experiment.training.model_copy(update=update)


def rows(experiment: Experiment, only: Sequence[str] = ()) -> list[Row]:
    """Empty rows: every architecture in every mode, or those that ``only`` names, in its order.

    Args:
        only: ``ARCHITECTURE/MODE``, either may be ``*``, such as ``mask_rcnn_r50/fp16+compile`` or ``*/bf16``.

    Raises:
        ValueError: the experiment has no such architecture, or there is no such mode.
    """
    chosen: dict[str, Row] = {}
    for name in only or ["*/*"]:
        architecture, _, mode = name.partition("/")
        found = [each for each in experiment.architectures if fnmatch(each, architecture)]
        if not found:
            known = ", ".join(experiment.architectures)
            raise ValueError(f"expected ARCHITECTURE/MODE with one of {known}, found {name!r}; name another")
        modes = [each for each in MODES if fnmatch(each, mode)] or [mode]
        for row in (Row(*pair) for pair in product(found, modes)):
            training_of(experiment, row.mode)
            chosen[str(row)] = row
    return list(chosen.values())


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def read(path: Path) -> Trial | None:
    """The trial that is kept at ``path``, if there is one."""
    if not path.exists():
        return None
    record = msgspec.json.decode(path.read_bytes())
    kept = [Row(**row | {"steps": [Step(**step) for step in row["steps"]]}) for row in record.pop("rows")]
    return Trial(**record, rows=kept)


def trial(
    experiment: Experiment,
    output: Path,
    only: Sequence[str] = (),
    batches: Sequence[int] = (4, 16),
    device: str | None = None,
    seconds: float = 60.0,
) -> Trial:
    """Try the rows that ``only`` names, print each as it is done, and keep all at ``output`` (JSON).

    A row is a process of its own, so that one that fails leaves the next alone, and takes ``seconds`` at most: what it
    has found by then is kept. Rows of the same device and PyTorch that ``output`` holds stay, but for those tried anew.

    Args:
        batches: images of a step.
        device: ``cuda`` or ``cpu``; a GPU where there is one.

    Raises:
        ValueError: as :func:`rows`.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    wanted = rows(experiment, only)
    found = Trial(experiment.name, device_name(device), torch.__version__, torch.version.cuda, "", [])
    if (kept := read(output)) and (kept.device, kept.torch) == (found.device, found.torch):
        found = replace(found, rows=[row for row in kept.rows if str(row) not in set(map(str, wanted))])
    print(f"{found.device}, torch {found.torch}; {len(wanted)} rows of at most {seconds:g} s")
    print(heading(batches), flush=True)
    for row in _tried(experiment, wanted, batches, device, seconds):
        print(line(row, batches), flush=True)
        found = replace(found, rows=[*found.rows, row], finished=datetime.now(UTC).isoformat(timespec="seconds"))
        write_json(output, asdict(found))
    return found


def _tried(
    experiment: Experiment, wanted: Iterable[Row], batches: Sequence[int], device: str, seconds: float
) -> Iterator[Row]:
    """Each row with what was found. On a GPU machine the next process gets ready while one measures."""
    spare: _Process | None = None
    waiting = list(wanted)
    while waiting:
        row = waiting.pop(0)
        process = spare or _Process()
        spare = _Process() if waiting and device == "cuda" else None
        try:
            yield process.measure(row, (experiment, row, tuple(batches), device, _MEASURING * seconds), seconds)
        except BaseException:
            if spare:
                spare.end()
            raise


class _Process:
    """A process that imports what it needs, waits for a row, and sends what it finds."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU that its parent has seen
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,))
        self.process.start()
        theirs.close()

    def measure(self, row: Row, task: tuple[Any, ...], seconds: float) -> Row:
        """``row`` with what the process finds within ``seconds``."""
        start = time.monotonic()
        try:
            self.connection.send(task)
            while self.connection.poll(max(0.0, start + seconds - time.monotonic())):
                message = self.connection.recv()
                if message is None:
                    break
                if "step" in message:
                    message = {"steps": [*row.steps, Step(**message["step"])]}
                row = replace(row, **message)
            else:
                row = replace(row, problem="out of time")
        except (EOFError, OSError):
            self.process.join()
            row = replace(row, problem=f"the process ended with status {self.process.exitcode}")
        finally:
            self.end()
        return replace(row, seconds=round(time.monotonic() - start, 1))

    def end(self) -> None:
        """Let the process go; what has not ended in a moment is killed, with the compilers that it started."""
        self.connection.close()
        self.process.join(1)
        if self.process.is_alive():
            try:
                os.killpg(self.process.pid or 0, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # it has no group of its own yet
                self.process.kill()
            self.process.join()


def _serve(connection: Connection) -> None:
    """Send every finding of the one row that comes, then None; what is raised is its problem, in one line."""
    from gumbel.preflight.measure import measure

    os.setsid()
    try:
        experiment, row, *others = connection.recv()
    except EOFError:
        return
    try:
        for finding in measure(experiment, row.architecture, training_of(experiment, row.mode), *others):
            connection.send(finding)
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        connection.send({"problem": words if len(words) <= 200 else f"{words[:200]}…"})
    connection.send(None)


def heading(batches: Sequence[int]) -> str:
    steps = "".join(f"{f'{images} images: s':>14} {'GB':>6} {'loss':>6}" for images in batches)
    return f"{'architecture/mode':<36}{steps} {'detected/s':>12} {'encoded/s':>10}"


def line(row: Row, batches: Sequence[int]) -> str:
    """A line of the table: of each step its seconds, memory and the largest share of any loss."""
    steps = {step.images: step for step in row.steps}
    cells = ""
    for images in batches:
        if step := steps.get(images):
            share = max(step.loss_shares.values(), default=0.0)
            cells += f"{step.seconds:>14.4g} {step.memory_bytes / 1e9:>6.1f} {share:>6.1%}"
        else:
            cells += f"{'-':>14} {'-':>6} {'-':>6}"
    detected, encoded = (
        "-" if value is None else f"{value:.1f}" for value in (row.images_per_second, row.encoded_per_second)
    )
    return f"{row!s:<36}{cells} {detected:>12} {encoded:>10}" + (f"  {row.problem}" if row.problem else "")
