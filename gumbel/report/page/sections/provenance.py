"""What the trainings ran with and cost."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from gumbel.jobs.manifest import read
from gumbel.paths import ExperimentPaths
from gumbel.report.page.results import RECIPE, PageSection, Results, Run

#: Facts of a training's manifest that are shown, and their labels; packages and data are shown beside them.
FACTS = {"commit": "Commit", "host": "Host", "processor": "Processor", "gpu": "GPU", "python": "Python"}


@dataclass(frozen=True)
class Provenance(PageSection):
    """Every run, and all of them together; ``warm_up`` are the seconds of warm starts, if the experiment has any."""

    runs: list[Run]
    seconds: float
    warm_up: float | None
    estimates: list["Estimate"]
    facts: list[tuple[str, list[tuple[str, int]]]]

    title = "Provenance"

    @staticmethod
    def record(run: Run) -> str:
        """The manifest as it is shown."""
        return json.dumps(run.manifest, indent=1)


def make(results: Results) -> Provenance:
    experiment, manifests = results.experiment, results.manifests
    warm_up = None
    if experiment.warm_start:
        paths = ExperimentPaths(experiment.name)
        records = [read(paths.warm_start(name).manifest) for name in experiment.architectures]
        warm_up = sum(record.get("seconds", 0.0) for record in records)
    seconds = sum(record.get("seconds", 0.0) for record in manifests)
    return Provenance(results.runs, seconds, warm_up, estimates(manifests), facts(manifests))


def facts(manifests: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, int]]]]:
    """What the trainings ran with: a label, and each value with the number of trainings that recorded it.

    Commit, machine, versions of packages, and the SHA-256 of the files that they read.
    """
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        for label, value in _facts(manifest):
            found.setdefault(label, Counter())[str(value)] += 1
    return [(label, values.most_common()) for label, values in found.items()]


def commit(manifests: Iterable[Mapping[str, Any]]) -> str | None:
    """The commit that every training ran at; None where they differ, it was edited, or is not known."""
    commits = {manifest.get("commit") for manifest in manifests}
    only = commits.pop() if len(commits) == 1 else None
    return only if only and not only.endswith("-dirty") else None


def _facts(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    named = [(label, manifest.get(key)) for key, label in FACTS.items()]
    named += manifest.get("versions", {}).items()
    named += [(f"SHA-256 of {file}", digest) for file, digest in manifest.get("data_sha256", {}).items()]
    return ((label, value) for label, value in named if value)


@dataclass(frozen=True)
class Estimate:
    """Energy and cost of the trainings on one kind of device: hours x watts, hours x price."""

    device: str
    hours: float
    watts: float
    price: float
    origin: str

    @property
    def kilowatt_hours(self) -> float:
        return self.hours * self.watts / 1000

    @property
    def cost(self) -> float:
        return self.hours * self.price


def estimates(manifests: Iterable[Mapping[str, Any]]) -> list[Estimate]:
    """Per kind of device, with the assumptions of the recipe file; a device that it does not know has none."""
    hours: dict[str, float] = {}
    for manifest in manifests:
        kind = str(manifest.get("device", "")).partition(":")[0]
        devices = manifest.get("world_size", 1)
        hours[kind] = hours.get(kind, 0.0) + manifest.get("seconds", 0.0) * devices / 3600
    known = yaml.safe_load(RECIPE.read_text())["devices"]
    return [
        Estimate(known[kind]["name"], value, **known[kind]["assumed"]) for kind, value in hours.items() if kind in known
    ]
