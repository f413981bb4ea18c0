"""Where an experiment differs from the released recipe, and why."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from gumbel.experiment.schema import Experiment
from gumbel.paths import ExperimentPaths
from gumbel.report.page.results import RECIPE, PageSection, Results
from gumbel.words import activation_name, architecture_name


class Deviation(NamedTuple):
    """A setting, its value in both, the cells that differ, and why."""

    label: str
    paper: str
    ours: str
    cells: str
    reason: str


class Deviations(PageSection):
    """First what the cells' configurations do otherwise; then what only runs tell, once there are any.

    ``reasons``: the rows by their reason.
    """

    title = "Deviations"

    def __init__(self, results: Results):
        self.rows = deviations(results.experiment, results.manifests)
        self.reasons: dict[str, list[Deviation]] = {}
        for row in self.rows:
            self.reasons.setdefault(row.reason, []).append(row)


def deviations(experiment: Experiment, manifests: Iterable[Mapping[str, Any]]) -> list[Deviation]:
    """Where the experiment differs from the released recipe, as the configurations recorded it and runs tell.

    Raises:
        FileNotFoundError: the stage `configs` has not run.
    """
    path = ExperimentPaths(experiment.name).recipe
    if not path.exists():
        raise FileNotFoundError(f"expected {path}, found nothing there; run `python -m gumbel configs` first")
    cells: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
    for each in json.loads(path.read_text())["deviations"]:
        values = (_words(each["released"]), _words(each["ours"]))
        row = (each["label"], *values, each["reason"] or "no reason is named")
        cells.setdefault(row, []).append((each["architecture"], each["activation"]))
    found = [
        Deviation(label, paper, ours, _cells_in_words(experiment, where), reason)
        for (label, paper, ours, reason), where in cells.items()
    ]
    return [*found, *_run_deviations(experiment, list(manifests))]


def _cells_in_words(experiment: Experiment, cells: list[tuple[str, str]]) -> str:
    """Whole rows or columns of the matrix by their name, other cells one by one, or those that are left out."""
    architectures, activations = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    if len(set(cells)) < len(architectures) * len(activations):
        every = [(one, two) for one in experiment.architectures for two in experiment.activations]
        others = [cell for cell in every if cell not in set(cells)]
        if len(others) < len(cells):
            return f"all but {_cells_in_words(experiment, others)}"
        return "; ".join(f"{architecture_name(one)} {activation_name(two)}" for one, two in cells)
    models = [] if architectures == experiment.architectures else [architecture_name(name) for name in architectures]
    columns = [] if activations == experiment.activations else [activation_name(name) for name in activations]
    between = ": " if len(cells) > 1 else " "
    return between.join(", ".join(names) for names in (models, columns) if names) or "all"


def _run_deviations(experiment: Experiment, manifests: list[Mapping[str, Any]]) -> Iterator[Deviation]:
    for setting in yaml.safe_load(RECIPE.read_text())["runs"]:
        where, *path = setting["key"].split(".")
        records = [experiment] if where == "experiment" else manifests
        values = [value for record in records if (value := _follow(record, path)) is not None]
        differing = [value for value in values if not _same(value, setting["paper"])]
        if differing:
            yield Deviation(
                setting["label"],
                str(setting.get("words", _words(setting["paper"]))),
                ", ".join(dict.fromkeys(map(_words, differing))),
                "all" if len(differing) == len(values) else f"{len(differing)} of {len(values)} runs",
                setting["reason"],
            )


def _follow(record: Any, path: Iterable[str]) -> Any:
    for key in path:
        if record is None:
            return None
        record = record.get(key) if isinstance(record, Mapping) else getattr(record, key)
    return record


def _same(value: Any, paper: Any) -> bool:
    """Equal; versions by their leading parts."""
    if isinstance(value, str) and not isinstance(paper, str):
        return value.startswith(str(paper))
    return bool(value == paper)


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        value = [f"{key} {_words(item)}" for key, item in value.items()]
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else str(value)
