"""How to run the experiment again, and the files that hold its results."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gumbel.experiment import matrix
from gumbel.paths import CONFIGS, REPOSITORY, ExperimentPaths
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.provenance import commit


@dataclass(frozen=True)
class Rerun(PageSection):
    """``metrics``: of a cell. ``downloads``: data URIs by file name; ``drawings``: names of the figures' files."""

    commit: str | None
    configuration: Path
    metrics: Path
    downloads: dict[str, str]
    drawings: list[str]

    title = "Cite and rerun"


def make(results: Results, texts: Mapping[str, str], drawings: Iterable[str]) -> Rerun:
    """The file that runs the experiment again: of the checkout where it has one, else as it was resolved."""
    name, architecture = results.experiment.name, results.experiment.architectures[0]
    activation = results.experiment.activations[-1]
    file = CONFIGS / "experiments" / f"{name}.yaml"
    configuration = file.relative_to(REPOSITORY) if file.exists() else ExperimentPaths(name).experiment
    one = matrix.cell(results.experiment, architecture, activation, results.experiment.seeds[0])
    return Rerun(
        commit(results.manifests),
        configuration,
        one.paths(results.experiment).metrics(results.split, "matched"),
        {file: _data_uri(text) for file, text in texts.items()},
        list(drawings),
    )


def _data_uri(text: str) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(text.encode()).decode()
