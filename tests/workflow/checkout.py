"""A copy of the project that a test may edit and run."""

import os
import re
import shutil
import sys
from pathlib import Path

from gumbel.paths import REPOSITORY

_NOT_COPIED = shutil.ignore_patterns(".*", "data", "results", "*.html", "__pycache__", "*.egg-info", "build")


def new_checkout(folder: Path, schedule: str, iterations: int, checkpoint_interval: int) -> Path:
    """The project's files as they are now, without results; ``schedule`` is a short one."""
    folder.mkdir(parents=True)
    for path in REPOSITORY.iterdir():
        if path.name in (
            "CITATION.cff",
            "Snakefile",
            "configs",
            "docs",
            "gumbel",
            "profiles",
            "reports",
            "slurm",
            "slurm-gres",
            "workflow",
            "environment.yml",
            "requirements.txt",
        ):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, folder / path.name, **({"ignore": _NOT_COPIED} if path.is_dir() else {}))
    schedules = folder / "configs" / "schedules"
    text = re.sub(r"^iterations = \d+", f"iterations = {iterations}", (schedules / "mini.py").read_text(), flags=re.M)
    text = re.sub(r"checkpoint_interval = \d+", f"checkpoint_interval = {checkpoint_interval}", text)
    (schedules / f"{schedule}.py").write_text(text)
    return folder


def environment() -> dict[str, str]:
    """Of a process in the copy: its own package, and the tools of this environment."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
