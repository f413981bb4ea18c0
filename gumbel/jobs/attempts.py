"""The attempts of a training: each process that worked on it, also those that were killed."""

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from gumbel.jobs import manifest
from gumbel.jobs.files import atomic_path


class Attempt(BaseModel):
    """One process (or group of processes) that trained, from iteration ``first`` to ``last``.

    ``seconds`` counts from its start to its last sign of life, which is a few seconds old where it was killed. What
    the next attempt had to do again is the difference between ``last`` and its ``first``.
    """

    model_config = ConfigDict(extra="forbid")

    started: str
    host: str
    pid: int
    slurm_job: str | None
    gpu: str | None
    processes: int
    first: int
    last: int
    seconds: float = 0.0
    ended: Literal["done", "interrupted", "failed"] | None = None


_LIST = TypeAdapter(list[Attempt])


class Attempts:
    """The list of attempts at ``path``, to which the running one is added and rewritten as it goes on."""

    def __init__(self, path: Path, *, first: int, processes: int, gpu: str | None) -> None:
        self._path = path
        self._clock = time.monotonic()
        self.earlier = read(path)
        at = {"processes": processes, "first": first, "last": first}
        self.current = Attempt(started=manifest.now(), **manifest.place(), gpu=gpu, **at)

    def write(self, last: int, ended: Literal["done", "interrupted", "failed"] | None = None) -> None:
        """Note that the running attempt stands at iteration ``last``, and how it ended if it did."""
        seconds = time.monotonic() - self._clock
        self.current = self.current.model_copy(update={"last": last, "seconds": seconds, "ended": ended})
        with atomic_path(self._path) as temporary:
            temporary.write_bytes(_LIST.dump_json(self.all, indent=1) + b"\n")

    @property
    def all(self) -> list[Attempt]:
        return [*self.earlier, self.current]

    @property
    def seconds(self) -> float:
        """Of all attempts together."""
        return sum(attempt.seconds for attempt in self.all)


def read(path: Path) -> list[Attempt]:
    """The attempts noted at ``path``, oldest first."""
    return _LIST.validate_json(path.read_bytes()) if path.exists() else []
