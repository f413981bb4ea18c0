"""What a cluster lets a job ask for, as its SLURM says; nothing is known where there is none."""

import re
import subprocess
from functools import cache


@cache
def longest(partition: str | None) -> int | None:
    """Minutes that a job may take in ``partition`` (None: the default one), or None where there is no limit."""
    return minutes(next(iter(_asked(partition, "%l")), None))


def within(hours: float, partition: str | None) -> int:
    """Minutes of the longest allocation that takes at most ``hours`` and that ``partition`` allows."""
    allowed = longest(partition)
    return int(60 * hours) if allowed is None else min(int(60 * hours), allowed)


@cache
def memory(partition: str | None) -> int | None:
    """MB of the largest node of ``partition``."""
    return max((int(size.rstrip("+")) for size in _asked(partition, "%m")), default=None)


def minutes(limit: str | None) -> int | None:
    """A time limit as SLURM writes it, in minutes.

    >>> minutes("2-12:00:00"), minutes("45:30"), minutes("infinite")
    (3600, 45, None)
    """
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit or "")
    if not found:
        return None
    days, hours, rest, _ = (int(number or 0) for number in found.groups())
    return (24 * days + hours) * 60 + rest


def _asked(partition: str | None, column: str) -> list[str]:
    """A column of sinfo for each node of a partition."""
    command = ["sinfo", "--noheader", "--Node", f"--format=%P|{column}"]
    if partition:
        command.append(f"--partition={partition}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split("|") for line in done.stdout.splitlines()]
    # The default partition is the one with a star
    return [value for name, value in rows if partition or name.endswith("*")]
