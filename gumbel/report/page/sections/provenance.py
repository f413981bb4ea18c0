"""What the trainings ran with and cost."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from gumbel.jobs.manifest import read
from gumbel.paths import ExperimentPaths
from gumbel.report.page.results import RECIPE, PageSection, Results, Run

#: Facts of a training's manifest that are shown, and their labels; packages and data are shown beside them.
FACTS = {"commit": "Commit", "host": "Host", "processor": "Processor", "gpu": "GPU", "python": "Python"}


class Provenance(PageSection):
    """All runs together; ``warm_up`` are the seconds of warm starts, if the experiment has any."""

    title = "Provenance"

    def __init__(self, results: Results):
        experiment, manifests = results.experiment, results.manifests
        self.seconds = sum(record.get("seconds", 0.0) for record in manifests)
        self.warm_up = None
        if experiment.warm_start:
            paths = ExperimentPaths(experiment.name)
            records = [read(paths.warm_start(name).manifest) for name in experiment.architectures]
            self.warm_up = sum(record.get("seconds", 0.0) for record in records)
        self.estimates, self.facts = estimates(manifests), facts(manifests)

    @staticmethod
    def record(run: Run) -> str:
        """The manifest as it is shown."""
        return json.dumps(run.manifest, indent=1)


def facts(manifests: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, int]]]]:
    """What the trainings ran with: a label, and each value with the number of trainings that recorded it.

    Commit, machine, versions of packages, and the SHA-256 of the files that they read.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for manifest in manifests:
        named = {label: manifest.get(key) for key, label in FACTS.items()} | manifest.get("versions", {})
        named |= {f"SHA-256 of {file}": digest for file, digest in manifest.get("data_sha256", {}).items()}
        for label, value in named.items():
            if value:
                found[label][str(value)] += 1
    return [(label, values.most_common()) for label, values in found.items()]


def commit(manifests: Iterable[Mapping[str, Any]]) -> str | None:
    """The commit that every training ran at; None where they differ, it was edited, or is not known."""
    commits = {manifest.get("commit") for manifest in manifests}
    only = commits.pop() if len(commits) == 1 else None
    return only if only and not only.endswith("-dirty") else None


class Estimate(NamedTuple):
    """What energy (hours x watts) and cost (hours x price) of the trainings on one kind of device follow from."""

    device: str
    hours: float
    watts: float
    price: float
    origin: str


def estimates(manifests: Iterable[Mapping[str, Any]]) -> list[Estimate]:
    """Per kind of device, with the assumptions of the recipe file; a device that it does not know has none."""
    hours: dict[str, float] = defaultdict(float)
    for manifest in manifests:
        kind = str(manifest.get("device", "")).partition(":")[0]
        hours[kind] += manifest.get("seconds", 0.0) * manifest.get("world_size", 1) / 3600
    known = yaml.safe_load(RECIPE.read_text())["devices"]
    return [
        Estimate(known[kind]["name"], value, **known[kind]["assumed"]) for kind, value in hours.items() if kind in known
    ]
