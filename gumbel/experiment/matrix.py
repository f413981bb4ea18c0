"""The matrix of an experiment: its cells, and what is scored of each."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from gumbel import activations
from gumbel.experiment.schema import Architecture, Experiment
from gumbel.paths import CONFIGS, DATA, CellPaths, DataPaths, ExperimentPaths

#: Splits of the embedded data.
MINI_SPLITS = ("train", "val", "val_uniform", "warm_start")
#: Splits of LVIS v1.
LVIS_SPLITS = ("train", "val")


@dataclass(frozen=True)
class Cell:
    """One training of the matrix."""

    architecture: str
    activation: str
    seed: int

    def __str__(self) -> str:
        return f"{self.architecture}/{self.activation}/seed{self.seed}"

    def paths(self, experiment: Experiment) -> CellPaths:
        return ExperimentPaths(experiment.name).cell(self.architecture, self.activation, self.seed)


def cells(experiment: Experiment) -> list[Cell]:
    """Every cell, architectures first, in the order of the configuration."""
    return [
        Cell(architecture, activation, seed)
        for architecture in experiment.architectures
        for activation in experiment.activations
        for seed in experiment.seeds
    ]


def cell(experiment: Experiment, architecture: str, activation: str, seed: int | str) -> Cell:
    """The cell of these names.

    Raises:
        ValueError: the experiment has no such cell.
    """
    known_seed = str(seed) in map(str, experiment.seeds)
    if architecture in experiment.architectures and activation in experiment.activations and known_seed:
        return Cell(architecture, activation, int(seed))
    listed = "\n  ".join(map(str, cells(experiment)))
    raise ValueError(
        f"expected a cell of experiment {experiment.name}:\n  {listed}\n"
        f"found {architecture}/{activation}/seed{seed}; correct the path, or add the cell to the experiment"
    )


def data(experiment: Experiment) -> DataPaths:
    """The data as the stages read it: generated in `data_root`, or links to what is there."""
    return DataPaths(experiment.data_root if experiment.mini else DATA / experiment.dataset)


def scorings(experiment: Experiment, activation: str) -> list[str]:
    """How the logits of a cell are scored: always as trained, and as released where asked for."""
    return ["matched", *(["released"] if activation in experiment.released_scoring else [])]


def scored(experiment: Experiment, activation: str) -> list[tuple[str, str]]:
    """Pairs of split and scoring that a cell is evaluated on: the first split, which decides, under every scoring."""
    first, *others = experiment.splits
    return [
        *((first, scoring) for scoring in scorings(experiment, activation)),
        *((name, "matched") for name in others),
    ]


def snapshots(experiment: Experiment, cell: Cell) -> list[int]:
    """Percentages of the cell's training at which its weights are kept; none where they come from elsewhere."""
    return [] if str(cell) in experiment.checkpoints else experiment.snapshots


def evaluated(experiment: Experiment, files: CellPaths, split: str, scoring: str) -> tuple[Path, ...]:
    """What evaluation writes. The first split decides the claims: its figures get intervals, its errors are sorted."""
    figures = (files.metrics(split, scoring), files.per_category(split, scoring))
    more = (files.bootstrap(split, scoring), files.errors(split, scoring))
    return (*figures, *more) if split == experiment.splits[0] else figures


def evidence(experiment: Experiment, cell: Cell) -> list[Path]:
    """Every file of a cell that the summary is made from."""
    files = cell.paths(experiment)
    return [
        files.manifest,
        files.history,
        files.weight_norms,
        *(
            path
            for split, scoring in scored(experiment, cell.activation)
            for path in evaluated(experiment, files, split, scoring)
        ),
        *(files.at(percent).metrics(experiment.splits[0], "matched") for percent in snapshots(experiment, cell)),
    ]


def parse(record: Mapping[str, Any], source: str = "the configuration") -> Experiment:
    """Check a configuration.

    Raises:
        ValueError: an unknown key, architecture, activation or file, each with what was expected.
    """
    try:
        experiment = Experiment.model_validate(dict(record))
    except ValidationError as error:
        raise ValueError(_message(source, _explain(error))) from None
    if problems := list(_problems(experiment)):
        raise ValueError(_message(source, problems))
    return experiment


def _problems(experiment: Experiment) -> Iterator[str]:
    """Names that mean nothing: activations, schedules, and splits of the embedded data."""
    warm_start = experiment.warm_start
    file = "a file of configs/schedules ({})"
    schedules = {path.stem for path in (CONFIGS / "schedules").glob("*.py")}
    yield from _unknown("activations", experiment.activations, activations.names())
    yield from _unknown("released_scoring", experiment.released_scoring, activations.names())
    yield from _unknown("classifier.bias", experiment.classifier.bias, activations.names())
    yield from _unknown("checkpoints", experiment.checkpoints, [str(cell) for cell in cells(experiment)])
    yield from _unknown("cells", experiment.cells, _cell_names())
    yield from _unknown("schedule", [experiment.schedule], schedules, file)
    if warm_start:
        yield from _unknown("warm_start.schedule", [warm_start.schedule], schedules, file)
    if experiment.mini:
        yield from _unknown("splits", experiment.splits, MINI_SPLITS)
        yield from _unknown("warm_start.split", [warm_start.split] if warm_start else [], MINI_SPLITS)
    else:
        yield from _data_in_the_way(experiment)


def _data_in_the_way(experiment: Experiment) -> Iterator[str]:
    """Files where links belong: Snakemake would remove them to have the links made."""
    for split in LVIS_SPLITS:
        link = data(experiment).annotations(split)
        if link.exists() and not link.is_symlink():
            yield f"data_root: expected at most a link at {link}; found a file. Name it lvis_v1_{split}.json"


def _cell_names() -> list[str]:
    """Architectures, and their cells, whether in the experiment's matrix or not: a part of a matrix keeps its cells."""
    architectures = get_args(Architecture)
    return [*architectures, *("/".join(pair) for pair in product(architectures, activations.names()))]


def _unknown(key: str, found: Iterable[str], known: Collection[str], expected: str = "one of {}") -> Iterator[str]:
    for name in found:
        if name not in known:
            yield f"{key}: expected {expected.format(', '.join(sorted(known)))}; found {name!r}"


def load(path: Path) -> Experiment:
    """Read and check an experiment file.

    Raises:
        ValueError: as :func:`parse`; FileNotFoundError: there is no such file.
    """
    return loads(path.read_text(), str(path))


def loads(text: str, source: str = "the configuration") -> Experiment:
    """Read and check an experiment written as YAML or JSON.

    Raises:
        ValueError: as :func:`parse`.
    """
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(_message(source, [f"expected YAML; found {error}"])) from None
    if not isinstance(record, dict):
        raise ValueError(_message(source, [f"expected keys and values; found {record!r}"]))
    return parse(record, source)


def _message(source: str, problems: Iterable[str]) -> str:
    lines = (f"  {problem}" for problem in problems)
    return "\n".join(
        [f"{source} is not a valid experiment:", *lines, "Correct it; docs/experiment.md describes every key"]
    )


def _explain(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield f"{key}: unknown key; docs/experiment.md lists the known ones"
        elif problem["type"] == "missing":
            yield f"{key}: expected a value; found none. Add it"
        elif problem["type"] == "value_error":
            yield str(problem["ctx"]["error"])
        else:
            yield f"{key}: {problem['msg']}; found {problem['input']!r}"
