"""Where and how a job ran: written beside its result, on the machine that ran it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gumbel.jobs.files import write_json
from gumbel.paths import REPOSITORY

PACKAGES: tuple[str, ...] = ("torch", "mmcv", "mmdet", "mmengine", "lvis", "numba", "numpy")
PACKAGES += ("opencv-python-headless", "pycocotools", "snakemake")
SLURM = re.compile("SLURM_(CLUSTER_NAME|JOB_ID|ARRAY_JOB_ID|ARRAY_TASK_ID|JOB_PARTITION|NODELIST|RESTART_COUNT)")


class Record:
    """A job's manifest, begun when the job starts, with the code that it runs, and written when it is done."""

    def __init__(self) -> None:
        self._started = now()
        self._clock = time.monotonic()
        self._environment = environment()

    def write(self, path: Path, **facts: Any) -> None:
        """Write to ``path`` when, where and with what the job ran, its peak memory, and ``facts``."""
        written = {
            "schema": 1,
            "started": self._started,
            "finished": now(),
            "wall_seconds": time.monotonic() - self._clock,
            "peak_memory_bytes": peak_memory_bytes(),
            "peak_gpu_memory_bytes": peak_gpu_memory_bytes(),
        }
        write_json(path, written | self._environment | facts)


def sha256s(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files, by their paths."""
    return {str(path): sha256(path) for path in paths}


def read(path: Path) -> dict[str, Any]:
    """The record at ``path``; empty where none was written.

    Raises:
        ValueError: what is there is no record.
    """
    if not path.exists():
        return {}
    record = json.loads(path.read_text())
    if not isinstance(record, dict):
        raise ValueError(f"expected a record in {path}, found {type(record).__name__}; remove it, run its job again")
    return record


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place() -> dict[str, Any]:
    """Which process on which host, and in which SLURM job: enough to find it, or its remains."""
    return {"host": platform.node(), "pid": os.getpid(), "slurm_job": os.environ.get("SLURM_JOB_ID")}


def environment() -> dict[str, Any]:
    """Host, processor, GPUs, versions and commit of the running process."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "gpus": gpus("name", "memory.total", "driver_version"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": _commit(),
        "slurm": {key: value for key, value in os.environ.items() if SLURM.fullmatch(key)},
        "command": " ".join(sys.argv),
    }


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_gpu_memory_bytes() -> int | None:
    """Largest memory that PyTorch reserved on a GPU of this process so far; None where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return max(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))


def gpus(*columns: str) -> list[dict[str, str]]:
    """What ``nvidia-smi`` tells of every GPU that the job can see: its ``columns``; none without it."""
    command = ["nvidia-smi", f"--query-gpu={','.join(columns)}", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (list(map(str.strip, line.split(","))) for line in lines)
    return [dict(zip(columns, row, strict=True)) for row in rows if len(row) == len(columns)]  # others are messages


def version(package: str) -> str | None:
    """Version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    named = re.search(r"^model name[^:]*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return named[1].strip() if named else platform.machine()


def _commit() -> str | None:
    """Commit of the checkout, with ``-dirty`` where it was edited; None outside a checkout."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
