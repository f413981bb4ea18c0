"""What the trainings ran with and cost."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from gumbel.jobs.manifest import read
from gumbel.paths import ExperimentPaths
from gumbel.report.page.results import RECIPE, PageSection, Results
from gumbel.report.page.sections.matrix import devices

#: Facts of a training's manifest that are shown, and their labels; packages and data are shown beside them.
FACTS = {"commit": "Commit", "host": "Host", "processor": "Processor", "gpu": "GPU", "python": "Python"}


class Stage(NamedTuple):
    """What the jobs of a stage took together: seconds from start to end, and seconds of a core as used."""

    name: str
    jobs: int
    seconds: float
    core_seconds: float


class Provenance(PageSection):
    """All runs together; ``stages`` are what Snakemake measured of every job, warm starts and evaluation included.

    ``waited`` is the least and the most that a training waited for data, as a share of its time; None if unknown.
    """

    title = "Provenance"

    def __init__(self, results: Results):
        manifests = results.manifests
        self.seconds = sum(record.get("seconds", 0.0) for record in manifests)
        paths = ExperimentPaths(results.experiment.name)
        shares = [run.waited for run in results.runs if run.waited is not None]
        self.waited = (min(shares), max(shares)) if shares else None
        self.stages = stages(paths.root)
        warm = [read(paths.warm_start(name).manifest) for name in results.experiment.architectures]
        cores = sum(stage.core_seconds for stage in self.stages) / 3600
        self.estimates, self.facts = estimates([*manifests, *warm], cores), facts(manifests)


def stages(folder: Path) -> list[Stage]:
    """The stages of the jobs whose benchmarks Snakemake wrote below ``folder``, longest first."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    # Not `rglob`, which fails where a job that runs removes a folder meanwhile
    for path in sorted(folder / name for name in glob("**/benchmarks/*.tsv", root_dir=folder, recursive=True)):
        name = "warm start" if "warm_start" in path.parts and path.stem == "train" else path.stem
        stage = next((one for one in ("predict", "evaluate") if name.startswith(f"{one}_")), name).replace("_", " ")
        table = pd.read_csv(path, sep="\t", na_values="NA")
        found[stage].append((table["s"].sum(), table["cpu_time"].sum()))
    taken = [Stage(name, len(jobs), *map(sum, zip(*jobs, strict=True))) for name, jobs in found.items()]
    return sorted(taken, key=lambda stage: -stage.core_seconds)


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
    """What energy (hours x watts) and cost (hours x price) of one kind of device follow from."""

    device: str
    hours: float
    watts: float
    price: float
    origin: str


def estimates(manifests: Iterable[Mapping[str, Any]], cores: float) -> list[Estimate]:
    """Per kind of device, with the assumptions of the recipe file; a device that it does not know has none.

    Hours of GPUs are those of the trainings; of cores those of all jobs (``cores``), or of the trainings where no job
    was measured.
    """
    hours: dict[str, float] = defaultdict(float)
    for manifest in manifests:
        kind = str(manifest.get("device", "")).partition(":")[0]
        hours[kind] += manifest.get("seconds", 0.0) * devices(manifest) / 3600
    if cores:
        hours["cpu"] = cores
    known = yaml.safe_load(RECIPE.read_text())["devices"]
    return [
        Estimate(known[kind]["name"], value, **known[kind]["assumed"]) for kind, value in hours.items() if kind in known
    ]
