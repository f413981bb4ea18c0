"""What a dry run would cost: GPU-hours at stake, and finished trainings that it would do again.

Snakemake logs every job that it plans, with resources and reason; a handler adds them up.
"""

import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from gumbel.jobs import manifest
from gumbel.monitor.progress import tolerant
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
        self.gpu_hours: dict[str, list[float]] = defaultdict(list)
        self.rewritten: dict[str, str] = {}
        self.thrown_away: dict[str, tuple[str, str]] = {}

    def emit(self, record: Any) -> None:
        """Count a planned job, with what Snakemake says of it; print the sum when the dry run ends."""
        if record.getMessage().startswith("This was a dry-run"):
            print(self.summary(), flush=True)
        if not (hasattr(record, "rule_name") and hasattr(record, "reason")):
            return
        rule, reason = record.rule_name, record.reason
        if gpus := _gpus(record.resources):
            self.gpu_hours[rule].append(gpus * record.resources.get("runtime", 0) / 60)
        if rule in TRAININGS + CONFIGURATIONS:
            names = dict(record.wildcards)
            files = self.paths.warm_start(**names) if rule.startswith("warm_start") else self.paths.cell(**names)
            name = str(files.root.relative_to(self.paths.root))
            if rule in CONFIGURATIONS and files.config.exists():
                self.rewritten[name] = _why(reason)
            elif rule in TRAININGS and files.checkpoint.exists():
                self.thrown_away[name] = _hours(files.manifest), _why(reason)

    def summary(self) -> str:
        """The lines below the dry run."""
        lines = []
        if self.gpu_hours:
            total = sum(map(sum, self.gpu_hours.values()))
            jobs = ", ".join(f"{len(hours)} {rule} {sum(hours):.0f}" for rule, hours in self.gpu_hours.items())
            limit = "if every job of the first attempt ran to its limit"
            lines.append(f"GPU-hours at stake, {limit}: {total:.0f} ({jobs})")
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
    record = tolerant(manifest.read, path) or {}
    if not {"seconds", "world_size"} <= set(record):
        return "hours unknown"
    return f"{record['seconds'] * record['world_size'] / 3600:.2f} hours of computing"


def _why(reason: str) -> str:
    """Snakemake's reason in a line: what a parameter was and is, or which input is newer."""
    found = re.search(r"before: (.*) now: (.*?) *$", reason)
    return f"{found[1]} became {found[2]}" if found else reason
