"""What every section of the page is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pandas as pd
import pyarrow.parquet as pq

from gumbel.evaluation.metrics import OF_GROUPS
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest
from gumbel.paths import CONFIGS, REPOSITORY, CellPaths, ExperimentPaths
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.styles import Palette
from gumbel.report.summary.collect import RESULTS
from gumbel.report.verdicts.claims import Claim, Published, Verdict, decide, load_claims
from gumbel.report.verdicts.rules.comparison import compared
from gumbel.words import activation_name, architecture_name

RECIPE = CONFIGS / "paper" / "recipe.yaml"

#: Figures by the name of their group.
Figures = Mapping[str, list[Figure]]


class PageSection:
    """A part of the page, made from the results.

    The template ``sections/<name>.html.j2`` shows it, the contents link it by ``title``, and its ``figures`` are kept
    as files.
    """

    title: ClassVar[str]
    figures: Figures = MappingProxyType({})

    @property
    def name(self) -> str:
        """That of its module, and its id on the page."""
        return type(self).__module__.rpartition(".")[2]


@dataclass(frozen=True)
class Run:
    """A training and its record; the record is empty where none was written.

    ``received`` says how a cell that was trained elsewhere came here; it is empty of one that was trained here.
    ``waited`` is the share of its time in which the training waited for data, where its history says so.
    """

    architecture: str
    activation: str
    name: str
    state: str
    reason: str | None
    manifest: dict[str, Any]
    config: str | None
    key: str
    received: dict[str, Any]
    waited: float | None


@dataclass(frozen=True)
class Results:
    """An experiment and its summary, and what follows from them."""

    experiment: Experiment
    summary: pd.DataFrame

    @cached_property
    def claims(self) -> list[Claim]:
        return load_claims()

    @cached_property
    def verdicts(self) -> list[Verdict]:
        return decide(self.summary, self.claims, self.experiment)

    @property
    def caveat(self) -> str:
        """What every claim says if the run does not reproduce the paper; else empty."""
        return next(filter(None, (claim.caveat(self.experiment) for claim in self.claims)), "")

    @cached_property
    def compared(self) -> tuple[str, str] | None:
        """The activation whose differences are shown, and the one that it is subtracted from."""
        return compared(self.claims, self.experiment)

    @cached_property
    def palette(self) -> Palette:
        return Palette(self.experiment.activations)

    @property
    def activations(self) -> dict[str, str]:
        """Names by key, in the order of the experiment."""
        return {name: activation_name(name) for name in self.experiment.activations}

    @property
    def split(self) -> str:
        """The split that decides."""
        return self.experiment.splits[0]

    @property
    def several_seeds(self) -> bool:
        return len(self.experiment.seeds) > 1

    @property
    def first_seed(self) -> str:
        """What is said of figures that show one training of several."""
        return f" Seed {self.experiment.seeds[0]}." if self.several_seeds else ""

    @property
    def redrawn(self) -> str:
        """What intervals of figures are over."""
        *some, last = OF_GROUPS
        trainings = " and trainings" if self.several_seeds else ""
        return f"images{trainings}, and for {', '.join(some)} and {last} over categories"

    @cached_property
    def intervals(self) -> bool:
        """Whether differences have intervals."""
        return bool((self.summary["source"] == "paired").any())

    @cached_property
    def published(self) -> dict[Published, tuple[float, str]]:
        """The paper's figures, each with where it comes from."""
        paper = self.summary[self.summary["source"] == "paper"]
        keys = ["architecture", "activation", "scoring", "iou_type", "metric"]
        return {tuple(key): (value, text) for *key, value, text in paper[[*keys, "value", "text"]].to_numpy()}

    @cached_property
    def runs(self) -> list[Run]:
        """The training of every cell."""
        rows = self.summary[self.summary["source"] == "cell"].set_index(["architecture", "activation", "seed"])
        states: dict[Any, Any] = rows[["state", "text"]].to_dict("index")
        cells = matrix.cells(self.experiment)
        return [self._run(cell, **states[cell.architecture, cell.activation, cell.seed]) for cell in cells]

    def _run(self, cell: matrix.Cell, state: str, text: str | None) -> Run:
        name = f"{architecture_name(cell.architecture)} {activation_name(cell.activation)}, seed {cell.seed}"
        reason = None if pd.isna(text) else str(text)
        paths = cell.paths(self.experiment)
        config = paths.config.read_text() if paths.config.exists() else None
        record = manifest.read(paths.manifest)
        received = manifest.read(paths.received)
        if not record or received.get("manifest_sha256") != manifest.sha256(paths.manifest):  # trained here since
            received = {}
        key = str(cell).replace("/", "-")
        waited = waited_share(paths.history)
        return Run(cell.architecture, cell.activation, name, str(state), reason, record, config, key, received, waited)

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Of the cells that have one."""
        return [run.manifest for run in self.runs if run.manifest]

    @cached_property
    def undone(self) -> list[str]:
        """The cells that are missing or failed by name; a model alone where all of its cells are."""
        names: list[str] = []
        for architecture in self.experiment.architectures:
            own = [run for run in self.runs if run.architecture == architecture]
            undone = [run.name for run in own if run.state != "done"]
            names += [architecture_name(architecture)] if len(undone) == len(own) else undone
        return names

    @property
    def sources(self) -> dict[str, Path]:
        """The files that the page's numbers are read from; what differs between cells in angle brackets."""
        split, paths, scoring = self.split, ExperimentPaths(self.experiment.name), "<scoring>"
        cell = paths.cell("<architecture>", "<activation>", "<k>")
        return {
            "summary": paths.summary,
            "metrics": cell.metrics(split, scoring),
            "intervals": cell.bootstrap(split, scoring),
            "categories": cell.per_category(split, "matched"),
            "errors": cell.errors(split, "matched"),
            "predictions": cell.predictions(split, "matched"),
            "norms": cell.weight_norms,
            "history": cell.history,
            "manifest": cell.manifest,
            "distribution": paths.object_distribution,
            "annotations": matrix.data(self.experiment).annotations(split),
            "paper": RESULTS.relative_to(REPOSITORY),
            "recipe": RECIPE.relative_to(REPOSITORY),
        }

    def first_cells(self, architecture: str) -> Iterator[tuple[str, CellPaths]]:
        """The activations, each with the files of an architecture's first training."""
        for activation in self.experiment.activations:
            yield activation, matrix.Cell(architecture, activation, self.experiment.seeds[0]).paths(self.experiment)

    def stacked(self, architecture: str, table: str) -> pd.DataFrame:
        """A table of every cell of an architecture that has written it, with its activation; the first seed's."""
        parts = []
        for activation, paths in self.first_cells(architecture):
            path = getattr(paths, table)
            # Without rows where the weights come from elsewhere: there is no history
            if path.exists() and len(part := pd.read_parquet(path)):
                parts.append(part.assign(activation=activation))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def waited_share(history: Path) -> float | None:
    """Share of the time of a training's iterations in which it waited for data.

    None where there is no history, or one without rows or without the column ``waited``.
    """
    if not history.exists() or "waited" not in pq.read_schema(history).names:
        return None
    table = pd.read_parquet(history, columns=["seconds", "waited"])
    return float(table["waited"].sum() / table["seconds"].sum()) if len(table) else None
