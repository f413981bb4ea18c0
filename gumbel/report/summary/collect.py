"""The summary: every figure of an experiment in one long table, missing and failed cells included."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import pandas as pd
from pydantic import ValidationError

from gumbel.analysis import object_distribution
from gumbel.analysis.weight_norms import norm_statistics
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest, status
from gumbel.monitor.progress import cell_failure
from gumbel.paths import CONFIGS, CellPaths, ExperimentPaths
from gumbel.report.summary import intervals
from gumbel.words import architecture_name, percent

RESULTS = CONFIGS / "paper" / "results.csv"

#: ``value`` is unrounded: AP and AR in [0, 1], times in seconds. ``low`` and ``high`` bound it where a
#: bound is known, ``error`` is what the number of replicates leaves open of them. ``source`` is what the row was read
#: from: docs/report.md tells them all.
COLUMNS = {
    "architecture": "string",
    "activation": "string",
    "seed": "Int64",
    "state": "string",
    "source": "string",
    "split": "string",
    "scoring": "string",
    "iou_type": "string",
    "metric": "string",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "error": "float64",
    "text": "string",
}

#: Numbers and texts of a manifest that are rows.
NUMBERS = ("seconds", "iterations", "batch_size", "learning_rate", "parameters", "peak_memory_bytes", "world_size")
TEXTS = ("converted_from", "host", "started", "finished", "config_sha256", "commit", "device")

State = Literal["done", "missing", "failed"]
Row = dict[str, Any]


def collect(experiment: Experiment) -> pd.DataFrame:
    """The figures of every cell, the object distribution's and the paper's, one a row.

    The columns are :data:`COLUMNS`. A cell always has a row of source ``cell`` whose state is done, missing
    or failed and whose text says why. What a cell has not written is left out.
    """
    rows = [row for cell in matrix.cells(experiment) for row in _cell_rows(cell, experiment)]
    rows += intervals.rows(experiment)
    rows += _distribution_rows(ExperimentPaths(experiment.name).object_distribution)
    rows += _paper_rows(RESULTS, experiment.recipe)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def cell_state(cell: matrix.Cell, experiment: Experiment) -> tuple[State, str | None]:
    """Whether a cell is done, missing or failed, and why it is not done."""
    if failure := cell_failure(cell, experiment):
        return "failed", f"{failure.reason} (log: {failure.log})"
    paths = cell.paths(experiment)
    absent = next((path for path in matrix.evidence(experiment, cell) if not path.exists()), None)
    if absent is None:
        return "done", None
    training = status.read(paths.status)
    if training is None:
        return "missing", "not started"
    if training.state == "running":
        return "missing", f"training stands at iteration {training.iteration} of {training.iterations}"
    return "missing", f"trained, but {absent} is not there (logs: {paths.log('train').parent}/)"


def headline_table(summary: pd.DataFrame) -> str:
    """Mask AP of every cell on the first split, as plain text for a terminal; cells without figures say why."""
    figures = ("AP", "AP50", "APr", "APc", "APf")
    cells = summary[summary["source"] == "cell"]
    first = cells["split"].iloc[0]
    scored = summary[(summary["source"] == "evaluation") & (summary["iou_type"] == "segm")]
    scored = scored[(scored["split"] == first) & (scored["scoring"] == "matched")]
    headings = "".join(f"{name:>7}" for name in figures)
    lines = [f"mask AP x 100 on {first}", f"{'model':<7} {'activation':<16} seed{headings}"]
    cell: Any
    for cell in cells.itertuples():
        own = (scored["architecture"] == cell.architecture) & (scored["activation"] == cell.activation)
        values = scored[own & (scored["seed"] == cell.seed)].set_index("metric")["value"]
        name = f"{architecture_name(cell.architecture):<7} {cell.activation:<16} {cell.seed:>3}"
        numbers = "".join(f"{percent(values.get(metric)):>7}" for metric in figures)
        lines.append(f"{name:<29}" + (numbers if len(values) else f"  {cell.state}: {cell.text}"))
    return "\n".join(lines)


def _cell_rows(cell: matrix.Cell, experiment: Experiment) -> list[Row]:
    paths = cell.paths(experiment)
    try:
        state, reason = cell_state(cell, experiment)
        rows = [{"source": "cell", "metric": "state", "text": reason}]
        rows += _metric_rows(paths, cell.activation, experiment)
        rows += _snapshot_rows(paths, experiment)
        rows += _error_rows(paths, cell.activation, experiment)
        rows += _norm_rows(paths.weight_norms)
        rows += _manifest_rows(paths.manifest)
    except (OSError, ValueError, KeyError, ValidationError, BadZipFile) as error:
        # One damaged file must not hide the other cells.
        state, rows = "failed", [{"source": "cell", "metric": "state", "text": f"unreadable results: {error}"}]
    rows[0]["split"] = experiment.splits[0]  # the one that decides
    return [vars(cell) | {"state": state} | row for row in rows]


def _metric_rows(paths: CellPaths, activation: str, experiment: Experiment) -> Iterator[Row]:
    for split, scoring in matrix.scored(experiment, activation):
        bounds = intervals.bounds(paths.bootstrap(split, scoring))
        row = {"source": "evaluation", "split": split, "scoring": scoring}
        for figure in _figure_rows(paths.metrics(split, scoring)):
            low, high = bounds.get((figure["iou_type"], figure["metric"]), (None, None))
            yield row | figure | {"low": low, "high": high}


def _snapshot_rows(paths: CellPaths, experiment: Experiment) -> Iterator[Row]:
    """Figures of the first split over training; the percentage of the training is the row's text."""
    split = experiment.splits[0]
    for share in experiment.snapshots:
        row = {"source": "over_training", "split": split, "scoring": "matched", "text": str(share)}
        yield from (row | figure for figure in _figure_rows(paths.at(share).metrics(split, "matched")))


def _figure_rows(path: Path) -> Iterator[Row]:
    """Every figure of an evaluation; none where it was not written."""
    if path.exists():
        record = json.loads(path.read_text())
        for iou_type in ("segm", "bbox"):
            for metric, value in record[iou_type].items():
                yield {"iou_type": iou_type, "metric": metric, "value": value}


def _error_rows(paths: CellPaths, activation: str, experiment: Experiment) -> Iterator[Row]:
    """AP50 that each type of error costs, its group in the text (all, r, c, f), and the calibration error."""
    split = experiment.splits[0]
    for scoring in matrix.scorings(experiment, activation):
        path = paths.errors(split, scoring)
        if path.exists():
            record = json.loads(path.read_text())
            row = {"source": "errors", "split": split, "scoring": scoring, "iou_type": "segm"}
            for metric, error in record["errors"].items():
                for group, cost in error["cost"].items():
                    yield row | {"metric": metric, "value": cost, "text": group}
            yield row | {"metric": "calibration_error", "value": record["calibration"]["error"], "text": "all"}


def _norm_rows(path: Path) -> Iterator[Row]:
    """Statistics per stage of the classifier; the stage is the row's text."""
    if path.exists():
        for stage, statistics in norm_statistics(pd.read_parquet(path)).items():
            for metric, value in statistics.items():
                yield {"source": "weight_norms", "metric": metric, "value": value, "text": str(stage)}


def _manifest_rows(path: Path) -> Iterator[Row]:
    record = manifest.read(path)
    if origin := record.get("converted_from"):
        record["converted_from"] = origin["path"]
    for column, metrics in (("value", NUMBERS), ("text", TEXTS)):
        for metric in metrics:
            if record.get(metric) is not None:
                yield {"source": "manifest", "metric": metric, column: record[metric]}


def _distribution_rows(path: Path) -> Iterator[Row]:
    """Means over the categories of a frequency group; the group is the row's text."""
    if path.exists():
        for group, statistics in object_distribution.group_statistics(object_distribution.load(path)).items():
            for metric, value in statistics.items():
                yield {"source": "object_distribution", "metric": metric, "value": value, "text": group}


def _paper_rows(path: Path, recipe: str) -> Iterator[Row]:
    """The numbers published for the released recipe that the experiment is compared with."""
    record: Any
    published = pd.read_csv(path)
    for record in published[published.pop("recipe") == recipe].to_dict("records"):
        value, bound = record.pop("value") / 100, record.pop("uncertainty") / 100
        text = f"{record.pop('source')}: {record.pop('certainty')}"
        yield record | {"source": "paper", "value": value, "low": value - bound, "high": value + bound, "text": text}
