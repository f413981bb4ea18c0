"""What a dry run would cost: GPU-hours, downloads, and finished trainings that it would do again.

The first lines come before the list of jobs, from the graph; what they leave out comes below it, from what Snakemake
logs of every job: its reason.
"""

import logging
import re
import runpy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gumbel.cluster import requests
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment, Widths
from gumbel.jobs import manifest
from gumbel.monitor.progress import tolerant
from gumbel.paths import CONFIGS, ExperimentPaths

#: Rules that train, and those that write the configurations for it.
TRAININGS = ("warm_start", "train")
CONFIGURATIONS = ("warm_start_config", "config")
#: Rules that download what is not there.
DOWNLOADS = ("data", "backbone", "weights")


class PlanHandler(logging.Handler):
    """Prints, in a dry run, what it comes to, before and below the list of jobs.

    Args:
        experiment: what is planned; its folder tells which trainings are finished.
        jobs: gives the jobs that would run, once Snakemake knows them.
    """

    def __init__(self, experiment: Experiment, jobs: Callable[[], Iterable[Any]]):
        super().__init__()
        self.experiment = experiment
        self.jobs = jobs
        self.paths = ExperimentPaths(experiment.name)
        self.told = False
        self.rewritten: dict[str, str] = {}
        self.thrown_away: dict[str, tuple[str, str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if not self.told and (hasattr(record, "stats") or message.startswith("Nothing to be done")):
            self.told = True
            print(self.head(), flush=True)
        if hasattr(record, "rule_name") and hasattr(record, "reason"):
            job: Any = record  # Snakemake adds what it says of a job
            self.add(job.rule_name, job.wildcards, job.reason)
        elif message.startswith("This was a dry-run"):
            print(self.summary(), flush=True)

    def head(self) -> str:
        """The lines above the dry run: which experiment, how much of it is done, what it would take."""
        cells = matrix.cells(self.experiment)
        done = sum(all(path.exists() for path in matrix.evidence(self.experiment, cell)) for cell in cells)
        jobs = list(self.jobs())
        words = (
            f"Experiment {self.experiment.name}: {done} of {len(cells)} cells are done. {self.experiment.description}"
        )
        downloads = [str(job.output[0]) for job in jobs if job.rule.name in DOWNLOADS and job.is_local]
        missing = f"To download, or to find: {', '.join(sorted(downloads))}" if downloads else None
        return "\n".join(filter(None, [words, missing, self._gpu_hours(jobs)]))

    def _gpu_hours(self, jobs: list[Any]) -> str | None:
        """GPU-hours of the jobs that ask for GPUs."""
        number, most, expected = Counter[str](), 0.0, 0.0
        # Seeds ask for the same, and Snakemake takes milliseconds to say what a job asks for
        asked: dict[tuple[str, ...], tuple[int, float]] = {}
        for job in jobs:
            kind = (job.rule.name, *(str(getattr(job.wildcards, key, "")) for key in ("architecture", "activation")))
            if kind not in asked:
                asked[kind] = _gpus(job.resources), job.resources.get("runtime", 0)
            gpus, minutes = asked[kind]
            if gpus:
                number[job.rule.name] += 1
                allocation = gpus * minutes / 60
                if job.rule.name == "train":
                    hours = self._expected(job.wildcards)
                    expected += hours
                    # It goes on in as many allocations as it takes
                    allocation = max(allocation, requests.MARGIN * hours + gpus * requests.AROUND / 60)
                most += (1 + job.restart_times) * allocation
        if not number:
            return None
        names = ", ".join(f"{count} {rule}" for rule, count in number.items())
        known = self.paths.doctor.exists() or self.experiment.widths == Widths()
        words = f"about {expected:,.0f} expected for trainings" if known else "unknown before the checks (doctor)"
        return f"GPU-hours: {words}; {most:,.0f} at most, if every job took all its attempts to the limit ({names})"

    def _expected(self, wildcards: Any) -> float:
        hours = requests.expected_hours(wildcards.architecture, wildcards.activation, self.paths.doctor)
        if self.paths.doctor.exists():
            return hours
        return hours * _iterations(self.experiment.schedule) / _iterations("schedule_1x") * self.experiment.batch / 16

    def add(self, rule: str, wildcards: Mapping[str, str], reason: str) -> None:
        """Note a planned job."""
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
        lines = ["Configurations that would be written anew:"] if self.rewritten else []
        lines += [f"  {name}: {why}" for name, why in sorted(self.rewritten.items())]
        if not self.thrown_away:
            return "\n".join([*lines, "No finished training would be thrown away."])
        lines.append("Finished trainings that would be done again, unless their recipe turns out the same:")
        for name, (hours, why) in sorted(self.thrown_away.items()):
            lines.append(f"  {name} ({hours}): {self.rewritten.get(name, why)}")
        return "\n".join(lines)


def _gpus(resources: Any) -> int:
    """GPUs of a job, asked for as ``gpu=2``, or on each node as ``gres="gpu:2"``."""
    gres = re.fullmatch(r"gpu:(?:\w+:)?(\d+)", str(resources.get("gres", "")))
    return int(gres[1]) * int(resources.get("nodes", 1)) if gres else int(resources.get("gpu", 0))


@cache
def _iterations(schedule: str) -> int:
    return runpy.run_path(str(CONFIGS / "schedules" / f"{schedule}.py"))["iterations"]


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
