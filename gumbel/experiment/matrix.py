"""The matrix of an experiment: its cells, and what is scored of each."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gumbel import activations, datasets
from gumbel.datasets import DataSet
from gumbel.datasets.backbones import Backbone
from gumbel.experiment import architectures, inheritance
from gumbel.experiment.inheritance import recipes, released_dataset
from gumbel.experiment.schema import Experiment, Source
from gumbel.paths import CONFIGS, CellPaths, ExperimentPaths


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
    return [Cell(*names) for names in product(experiment.architectures, experiment.activations, experiment.seeds)]


def cell(experiment: Experiment, architecture: str, activation: str, seed: int | str) -> Cell:
    """The cell of these names.

    Raises:
        ValueError: the experiment has no such cell.
    """
    # Asked for every job of a matrix: without a look at all its cells
    seeds = [known for known in experiment.seeds if str(known) == str(seed)]
    if architecture in experiment.architectures and activation in experiment.activations and seeds:
        return Cell(architecture, activation, seeds[0])
    listed = "\n  ".join(map(str, cells(experiment)))
    raise ValueError(
        f"expected a cell of experiment {experiment.name}:\n  {listed}\n"
        f"found {architecture}/{activation}/seed{seed}; correct the path, or add the cell to the experiment"
    )


def data(experiment: Source) -> DataSet:
    """The data set as the experiment uses it."""
    return datasets.get(experiment.dataset).of(experiment.name, experiment.data_root, experiment.data)


def source(experiment: Experiment) -> Source:
    """Which data the experiment is about, and nothing else of it."""
    return Source(**{name: getattr(experiment, name) for name in Source.model_fields})


def starting_weights(experiment: Experiment) -> list[Backbone]:
    """ImageNet weights that the experiment's architectures start from, each once."""
    wanted = (architectures.get(name).weights for name in experiment.architectures)
    return list({each.name: each for each in wanted if each is not None}.values())


def scorings(experiment: Experiment, activation: str) -> list[str]:
    """How the logits of a cell are scored: always as trained, and as released where asked for."""
    return ["matched", *(["released"] if activation in experiment.released_scoring else [])]


def scored_with(activation: str, scoring: str) -> str:
    """The activation that turns the logits of a cell into scores under ``scoring``."""
    return activation if scoring == "matched" else activations.mmdet_default()


def scored(experiment: Experiment, activation: str) -> list[tuple[str, str]]:
    """Pairs of split and scoring that a cell is evaluated on: the first split, which decides, under every scoring."""
    first, *others = experiment.splits
    return [*((first, each) for each in scorings(experiment, activation)), *((name, "matched") for name in others)]


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
    files, pairs = cell.paths(experiment), scored(experiment, cell.activation)
    return [
        files.manifest,
        files.history,
        files.weight_norms,
        *(path for pair in pairs for path in evaluated(experiment, files, *pair)),
        *(files.at(percent).metrics(experiment.splits[0], "matched") for percent in snapshots(experiment, cell)),
    ]


def parse(record: Mapping[str, Any], source: str = "the configuration") -> Experiment:
    """Check a configuration.

    Raises:
        ValueError: an unknown key, architecture, activation, data set or file, each with what was expected.
    """
    try:
        experiment = Experiment.model_validate(inheritance.resolved(record))
    except ValueError as error:
        raise ValueError(_message(source, _explain(error))) from None
    problems = list(_unknown("dataset", [experiment.dataset], datasets.names()))
    if not problems:
        try:
            problems = list(_problems(experiment))
        except ValidationError as error:
            problems = list(_explain(error, "data"))
    if problems:
        raise ValueError(_message(source, problems))
    # All settings of the data set, so that the record of an experiment is whole
    return experiment.model_copy(update={"data": data(experiment).settings.model_dump(mode="json")})


def _problems(experiment: Experiment) -> Iterator[str]:
    """What an experiment names and there is not, and what does not go together."""
    warm_start, data_set = experiment.warm_start, data(experiment)
    file = "a file of configs/schedules ({})"
    schedules = {path.stem for path in (CONFIGS / "schedules").glob("*.py")}
    yield from _unknown("architectures", experiment.architectures, architectures.names())
    yield from _unknown("activations", experiment.activations, activations.names())
    yield from _unknown("released_scoring", experiment.released_scoring, activations.names())
    yield from _unknown("classifier.bias", experiment.classifier.bias, activations.names())
    yield from _unknown("checkpoints", experiment.checkpoints, [str(cell) for cell in cells(experiment)])
    # Whether in the experiment's matrix or not: a part of a matrix keeps its cells
    every_cell = map("/".join, product(architectures.names(), activations.names()))
    yield from _unknown("cells", experiment.cells, [*architectures.names(), *every_cell])
    yield from _unknown("recipe", [experiment.recipe], recipes())
    yield from _not_of_the_recipe(experiment)
    yield from _unknown("schedule", [experiment.schedule], schedules, file)
    if warm_start:
        yield from _unknown("warm_start.schedule", [warm_start.schedule], schedules, file)
    yield from _unknown("splits", experiment.splits, data_set.splits)
    yield from _unknown("warm_start.split", [warm_start.split] if warm_start else [], data_set.splits)
    yield from data_set.problems()
    yield from _activation_problems(experiment, data_set)


def _not_of_the_recipe(experiment: Experiment) -> Iterator[str]:
    """Keys of a reproduction that say something else than its recipe."""
    if not experiment.reproduction:
        return
    if experiment.dataset != released_dataset():
        yield (
            f"dataset: expected {released_dataset()} in a reproduction, as the released recipes have it, found "
            f"{experiment.dataset}; set `reproduction: false`: the paper's numbers mean nothing on other data"
        )
    if recipe := recipes().get(experiment.recipe):
        for key in ("schedule", "oversample"):
            implied, found = getattr(recipe, key), getattr(experiment, key)
            if found != implied:
                yield (
                    f"{key}: expected {implied} in a reproduction of recipe {experiment.recipe}, found {found}; "
                    "leave it out, or set `reproduction: false`"
                )


def _activation_problems(experiment: Experiment, data_set: DataSet) -> Iterator[str]:
    """Options that an activation's loss does not have, and what the drop loss cannot do."""
    yield from _unknown("options", experiment.options, activations.names())
    for name in set(experiment.options) & set(activations.names()):
        known = activations.said(name).get("options", {})
        yield from _unknown(f"options.{name}", experiment.options[name], known, "one of its options ({})")
        for option in set(experiment.options[name]) & set(known):
            yield from _unknown(f"options.{name}.{option}", [experiment.options[name][option]], known[option])
    if experiment.gol.drop_below is not None:
        if data_set.image_shares is None:
            yield (
                "gol.drop_below: expected a data set whose training images of each category are known, found "
                f"{experiment.dataset}; leave it out"
            )
        known_names = set(experiment.activations) & set(activations.names())
        if competing := sorted(name for name in known_names if activations.said(name).get("competing")):
            yield (
                "gol.drop_below: expected activations whose classes are problems of their own, found "
                f"{', '.join(competing)}; leave it out"
            )


def _unknown(key: str, found: Iterable[str], known: Collection[str], expected: str = "one of {}") -> Iterator[str]:
    for name in found:
        if name not in known:
            yield f"{key}: expected {expected.format(', '.join(sorted(known)))}; found {name!r}"


def load(given: Path | str) -> Experiment:
    """Read and check an experiment: a file, or text in YAML or JSON.

    Raises:
        ValueError: as :func:`parse`; FileNotFoundError: there is no such file.
    """
    return parse(read(given), _source(given))


def read(given: Path | str) -> dict[str, Any]:
    """The keys and values that a file or a text holds, unchecked."""
    try:
        return inheritance.read(given if isinstance(given, str) else given.read_text())
    except ValueError as error:
        raise ValueError(_message(_source(given), _explain(error))) from None


def _source(given: Path | str) -> str:
    return "the text of --experiment" if isinstance(given, str) else str(given)


def _message(source: str, problems: Iterable[str]) -> str:
    lines = "".join(f"  {problem}\n" for problem in problems)
    return f"{source} is not a valid experiment:\n{lines}Correct it; docs/experiment.md describes every key"


def _explain(error: ValueError, *within: str) -> Iterator[str]:
    if not isinstance(error, ValidationError):
        yield str(error)
        return
    for problem in error.errors():
        key = ".".join(str(part) for part in (*within, *problem["loc"]))
        if problem["type"] == "default_factory_not_called":  # what it would be made of is wrong, and named
            continue
        if problem["type"] == "extra_forbidden":
            yield f"{key}: unknown key; docs/experiment.md lists the known ones"
        elif problem["type"] == "missing":
            yield f"{key}: expected a value; found none. Add it"
        elif problem["type"] == "value_error":
            yield str(problem["ctx"]["error"])
        else:
            yield f"{key}: {problem['msg']}; found {problem['input']!r}"
