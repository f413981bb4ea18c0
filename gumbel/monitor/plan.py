"""What a dry run would cost: GPU-hours at stake, and finished trainings that it would do again.

Snakemake logs every job that it plans, with resources and reason; a handler adds them up.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gumbel.jobs import manifest
from gumbel.paths import ExperimentPaths

#: Rules that train, and those that write the configurations for it.
TRAININGS = ("warm_start", "train")
CONFIGURATIONS = ("warm_start_config", "config")


class PlanHandler(logging.Handler):
    """Adds up the jobs of a dry run and prints the sum below it.

    Args:
        experiment: name of the experiment, whose folder tells which trainings are finished.
    """

    def __init__(self, experiment: str):
        super().__init__()
        self.paths = ExperimentPaths(experiment)
        self.jobs: Counter[str] = Counter()
        self.gpu_hours: dict[str, float] = defaultdict(float)
        self.rewritten: dict[str, str] = {}
        self.thrown_away: dict[str, tuple[str, str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "rule_name") and hasattr(record, "reason"):
            job: Any = record  # Snakemake adds what it says of a job
            self.add(job.rule_name, job.wildcards, job.resources, job.reason)
        elif record.getMessage().startswith("This was a dry-run"):
            print(self.summary(), flush=True)

    def add(self, rule: str, wildcards: Mapping[str, str], resources: Any, reason: str) -> None:
        """Count a planned job."""
        gpus = _gpus(resources)
        if gpus:
            self.jobs[rule] += 1
            self.gpu_hours[rule] += gpus * resources.get("runtime", 0) / 60
        if rule in TRAININGS + CONFIGURATIONS:
            names = dict(wildcards)
            files = self.paths.warm_start(**names) if rule.startswith("warm_start") else self.paths.cell(**names)
            name = str(files.root.relative_to(self.paths.root))
            if rule in CONFIGURATIONS and files.config.exists():
                self.rewritten[name] = _why(reason)
            elif rule in TRAININGS and (files.checkpoint.exists() or files.manifest.exists()):
                self.thrown_away[name] = _hours(files.manifest), _why(reason)

    def summary(self) -> str:
        """The lines below the dry run."""
        lines = []
        if self.jobs:
            total = sum(self.gpu_hours.values())
            jobs = ", ".join(f"{self.jobs[rule]} {rule} {self.gpu_hours[rule]:.0f}" for rule in self.jobs)
            lines.append(
                f"GPU-hours at stake, if every job of the first attempt ran to its limit: {total:.0f} ({jobs})"
            )
        if self.rewritten:
            lines.append("Configurations that would be written anew:")
            lines += [f"  {name}: {why}" for name, why in sorted(self.rewritten.items())]
        if self.thrown_away:
            lines.append("Finished trainings that would be done again, unless their recipe turns out the same:")
            lines += [
                f"  {name} ({hours}): {self.rewritten.get(name, why)}"
                for name, (hours, why) in sorted(self.thrown_away.items())
            ]
        else:
            lines.append("No finished training would be thrown away.")
        return "\n".join(lines)


def _gpus(resources: Any) -> int:
    """GPUs of a job, asked for as ``gpu=2`` or as ``gres="gpu:2"``."""
    gres = re.fullmatch(r"gpu:(?:\w+:)?(\d+)", str(resources.get("gres", "")))
    return int(gres[1]) if gres else int(resources.get("gpu", 0))


def _hours(path: Path) -> str:
    """GPU-hours that a finished training took, as its manifest says."""
    try:
        record = manifest.read(path)
    except (OSError, ValueError):
        record = {}
    if not {"seconds", "world_size"} <= set(record):
        return "hours unknown"
    return f"{record['seconds'] * record['world_size'] / 3600:.2f} hours of computing"


def _why(reason: str) -> str:
    """Snakemake's reason in a line: what a parameter was and is, or which input is newer."""
    found = re.search(r"before: (.*) now: (.*?) *$", reason)
    return f"{found[1]} became {found[2]}" if found else reason
