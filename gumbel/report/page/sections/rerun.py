"""How to run the experiment again, and the files that hold its results."""

import base64
from collections.abc import Iterable, Mapping

from gumbel.experiment import matrix
from gumbel.paths import CONFIGS, REPOSITORY, ExperimentPaths
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.provenance import commit


class Rerun(PageSection):
    """What to run, with the ``configuration`` of the checkout where it has one, else as it was resolved.

    ``metrics``: of a cell. ``downloads``: data URIs by file name, of ``texts`` but the summary, whose figures the
    others hold and which alone would be a quarter of the page; ``drawings``: names of the figures' files.
    """

    title = "Cite and rerun"

    def __init__(self, results: Results, texts: Mapping[str, str], drawings: Iterable[str]):
        experiment = results.experiment
        file = CONFIGS / "experiments" / f"{experiment.name}.yaml"
        resolved = ExperimentPaths(experiment.name).experiment
        self.commit = commit(results.manifests)
        self.configuration = file.relative_to(REPOSITORY) if file.exists() else resolved
        cell = matrix.Cell(experiment.architectures[0], experiment.activations[-1], experiment.seeds[0])
        self.metrics = cell.paths(experiment).metrics(results.split, "matched")
        encoded = {
            name: base64.b64encode(text.encode()).decode() for name, text in texts.items() if name != "summary.csv"
        }
        self.downloads = {name: f"data:application/octet-stream;base64,{text}" for name, text in encoded.items()}
        self.drawings = list(drawings)
