"""Memory and time that a job asks for: more memory after it ran out of memory, more time after it ran out of time.

The profile's expressions call this, in the process that submits the jobs and knows how they ended.
"""

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from gumbel.experiment import architectures

Kind = Literal["memory", "time"]

#: What a job ran out of, and how often. A job is known by its wildcards and inputs.
_ran_out: Counter[tuple[Kind, tuple[str, ...], tuple[str, ...]]] = Counter()

#: An estimate of hours may be this many times too short.
MARGIN = 1.5
#: Minutes that a training may take beside its iterations.
AROUND = 30
#: Minutes of a warm start, which goes on in the next allocation if they do not do.
WARM_START = 60


def ran_out(kind: Kind, wildcards: Iterable[str], inputs: Iterable[str]) -> None:
    """Note that a job was ended for want of memory or time."""
    _ran_out[kind, tuple(wildcards), tuple(inputs)] += 1


def memory(wildcards: Iterable[str], inputs: Iterable[str], first: float, most: int | None = None) -> int:
    """MB for a job: ``first``, as much more each time that it ran out of memory, ``most`` at most."""
    return _grown("memory", wildcards, inputs, first, most)


def minutes(wildcards: Iterable[str], inputs: Iterable[str], first: float, most: int | None = None) -> int:
    """Minutes for a job: ``first``, as much more each time that it ran out of time, ``most`` at most."""
    return _grown("time", wildcards, inputs, first, most)


def training_memory(wildcards: Any, inputs: Any, gpus: int, most: int | None = None) -> int:
    """MB on a node for a training that has ``gpus`` there."""
    return memory(wildcards, inputs, 1000 * gpus * architectures.get(wildcards.architecture).memory_gb, most)


def training_minutes(wildcards: Any, inputs: Any, gpus: int, most: int | None = None) -> int:
    """Minutes for a training on ``gpus``: those that are expected, with a margin.

    It goes on in the next allocation where ``most`` is less.
    """
    activation = wildcards.get("activation")
    if activation is None:
        return minutes(wildcards, inputs, WARM_START, most)
    hours = expected_hours(wildcards.architecture, activation, inputs.preflight) / gpus
    return minutes(wildcards, inputs, AROUND + 60 * MARGIN * hours, most)


def expected_hours(architecture: str, activation: str, record: Path | str) -> float:
    """GPU-hours of a training: as the doctor's ``record`` says where there is one, else of the paper's schedule."""
    path = Path(record)
    costs = _costs(path, path.stat().st_mtime_ns) if path.exists() else []
    name = f"{architecture}/{activation}/"
    found = [cost["seconds"] / 3600 for cost in costs if cost["cell"].startswith(name)]
    return found[0] if found else architectures.get(architecture).hours


@cache
def _costs(path: Path, changed: int) -> list[dict[str, Any]]:
    """What the doctor's record at ``path``, last ``changed`` then, says of trainings: asked for every one of them."""
    return json.loads(path.read_text())["costs"]


def _grown(kind: Kind, wildcards: Iterable[str], inputs: Iterable[str], first: float, most: int | None) -> int:
    asked = round(first * (1 + _ran_out[kind, tuple(wildcards), tuple(map(str, inputs))]))
    return asked if most is None else min(asked, most)
