"""The state of a training, as its job writes it and everyone reads it."""

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gumbel.jobs.files import atomic_path


class Status(BaseModel):
    """What a training last said of itself.

    ``interrupted`` stopped on a signal, with a checkpoint that the next attempt goes on from. A training that was
    killed says ``running``, with an ``updated`` that grows old.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    version: int = Field(1, alias="schema")
    state: Literal["running", "done", "failed", "interrupted"]
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    eta_seconds: float | None = None
    #: Share of the last iterations' time in which the training waited for its data.
    waiting: float | None = None
    message: str | None = None
    host: str | None = None
    pid: int | None = Field(None, gt=0, lt=2**31)
    slurm_job: str | None = None
    gpu: str | None = None
    processes: int = 1
    attempt: int = 1
    #: Of all attempts so far, each on ``processes`` GPUs or cores.
    seconds: float = 0.0
    updated: float = 0.0


def write(path: Path, status: Status) -> None:
    """Write ``status`` with the time of writing."""
    text = status.model_copy(update={"updated": time.time()}).model_dump_json(indent=1, by_alias=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n")


def read(path: Path) -> Status | None:
    """The status at ``path``, or None where no training has started."""
    return Status.model_validate_json(path.read_text()) if path.exists() else None
