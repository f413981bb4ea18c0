"""What became of SLURM jobs: asked of slurmctld, and of the accounting where slurmctld has forgotten them."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["active", "done", "failed", "cancelled", "preempted", "node failed", "out of time", "out of memory"]

#: What SLURM's words for the end of a job mean; every other word is of a job that is not over.
_ENDED: dict[str, State] = {
    "COMPLETED": "done",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node failed",
    "BOOT_FAIL": "node failed",
    "LAUNCH_FAILED": "node failed",
    "RECONFIG_FAIL": "node failed",
    "TIMEOUT": "out of time",
    "DEADLINE": "out of time",
    "OUT_OF_MEMORY": "out of memory",
    "FAILED": "failed",
    "SPECIAL_EXIT": "failed",
    "ERROR": "failed",
}
#: Why a waiting job will never start as it was asked for; other reasons pass.
_NEVER = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|Invalid(Account|QOS)|(QOS|Assoc)(Max\w*Per(Job|Node)|Min)"
)
#: What SLURM or the kernel leaves in a job's log when it was short of memory.
_OUT_OF_MEMORY = re.compile(rb"oom[_-]kill|Exceeded (job|step) memory limit|Out Of Memory", re.IGNORECASE)


@dataclass(frozen=True)
class Seen:
    """A job as SLURM tells of it; ``never`` is why it cannot start."""

    state: State
    never: str | None = None


class UnknownError(Exception):
    """SLURM does not answer."""


def queue(name: str) -> dict[str, Seen]:
    """Jobs called ``name`` that slurmctld knows, by id, ended ones too for a while (``MinJobAge``).

    Raises:
        UnknownError: slurmctld does not answer.
    """
    text = ask("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i|%T|%r")
    found = {}
    for line in text.splitlines():
        job, word, reason = line.split("|", 2)
        waits = word == "PENDING" and _NEVER.search(reason)
        found[job] = Seen(meaning(word), reason if waits else None)
    return found


def accounted(jobs: Iterable[str]) -> dict[str, Seen]:
    """What the accounting says of ``jobs`` that slurmctld has forgotten; those that ended alone.

    Nothing where there is no accounting, or where it does not answer.
    """
    try:
        text = ask("sacct", "-X", "--noheader", "--parsable2", "--format=JobIDRaw,State", f"--jobs={','.join(jobs)}")
    except UnknownError:
        return {}
    rows = (line.split("|") for line in text.splitlines())
    seen = {job: Seen(meaning(words)) for job, words in rows}
    return {job: each for job, each in seen.items() if each.state != "active"}


def meaning(words: str) -> State:
    """What SLURM's words mean.

    >>> meaning("CANCELLED by 2001"), meaning("COMPLETING")
    ('cancelled', 'active')
    """
    return _ENDED.get(words.split()[0].rstrip("+"), "active")


def ran_out_of_memory(log: bytes) -> bool:
    """Whether a job's log says that it did; SLURM itself calls such a job failed where the batch script outlived it."""
    return bool(_OUT_OF_MEMORY.search(log))


def ask(*command: str) -> str:
    """What a command of SLURM prints.

    Raises:
        UnknownError: it fails.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UnknownError(f"{command[0]}: {getattr(error, 'stderr', None) or error}") from error
