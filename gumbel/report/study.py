"""The page of a study: figures against the levels of each factor, from the trainings that are done."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from altair.utils.schemapi import debug_mode
from pydantic import ValidationError

from gumbel import html
from gumbel.analysis.weight_norms import norm_statistics
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.experiment.study import Level, Study, levels
from gumbel.jobs.files import atomic_path
from gumbel.paths import ExperimentPaths, StudyPaths
from gumbel.report.drawing import figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.drawing.styles import Palette
from gumbel.report.exports.write import pipes
from gumbel.report.summary.collect import cell_state
from gumbel.report.verdicts.trainings import Spread
from gumbel.words import STATISTICS, activation_name, fixed


class Metric(NamedTuple):
    """What a figure is called, what it is multiplied by, and with how many digits it is printed."""

    title: str
    scale: float = 100
    digits: int = 1


#: Categories with the fewest training images over all levels that have the same ones: the same at every such level.
THIRD = "AP_rarest_third"
#: Of the rare categories, the number and those with an AP above 0.
RARE, ABOVE_ZERO = "rare", "rare_above_zero"
METRICS = {
    "AP": Metric("AP"),
    THIRD: Metric("AP, rarest third"),
    "APr": Metric("APr"),
    "APc": Metric("APc"),
    "APf": Metric("APf"),
    ABOVE_ZERO: Metric("Rare above 0", scale=1),
    "coefficient_of_variation": Metric("Norms: " + STATISTICS["coefficient_of_variation"].lower(), scale=1, digits=2),
    "spearman": Metric("Norms: " + STATISTICS["spearman"], scale=1, digits=2),
}
DRAWN = ("AP", THIRD, "APr", "coefficient_of_variation", "spearman")
#: The differences that are drawn and summed up.
ANSWERS = ("AP", THIRD)
CELL = ["experiment", "activation", "seed"]


class Table(NamedTuple):
    title: str
    headings: list[str]
    rows: list[list[str]]


class Part(NamedTuple):
    """What there is of a factor: its figures by the name of their file, and its tables."""

    factor: str
    figures: dict[str, Figure]
    tables: list[Table]


def write(study: Study) -> Path:
    """Write the study's page and its exports, from what is there; return the page."""
    found = levels(study)
    once = {level.experiment.name: level for level in found}
    experiments = {name: level.experiment for name, level in once.items()}
    table, missing = trainings(experiments.values())
    means, differences = intervals(table), intervals(paired(table, study))
    palette, paths = Palette(found[0].experiment.activations), StudyPaths(study.name)
    parts = by_factor(study, means, differences)
    with debug_mode(False):  # as on the page of an experiment
        curves = list(_over_training(once.values(), table, palette))
    context: dict[str, Any] = {
        "finding": finding(study, differences),
        "missing": missing,
        "done": len(table),
        "cells": sum(len(matrix.cells(one)) for one in experiments.values()),
        "experiments": experiments,
        "reports": {name for name in experiments if ExperimentPaths(name).report.exists()},
        "palette": palette,
        "names": {name: activation_name(name) for name in palette},
    }
    template = html.environment().get_template("study.html.j2")
    texts = {
        paths.report: template.render(context, study=study, sections=parts, curves=curves, style=html.style()),
        paths.exports / "trainings.csv": table.to_csv(),
        paths.exports / "means.csv": means.to_csv(index=False),
        paths.exports / "differences.csv": differences.to_csv(index=False),
        paths.exports / "results.md": markdown(parts, context["finding"], missing),
        **{paths.exports / name: one.drawing for part in parts for name, one in part.figures.items()},
    }
    for path, text in texts.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    return paths.report


def trainings(experiments: Iterable[Experiment]) -> tuple[pd.DataFrame, dict[str, str]]:
    """A row a training that is done, and what is not done of an experiment, in words.

    The index is experiment, activation and seed. The columns are :data:`METRICS` (AP in [0, 1], NaN where undefined),
    ``rare``, the number of rare categories, and ``AP at``, those over the training, a list of pairs.
    """
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    categories: dict[tuple[str, str, int], pd.DataFrame] = {}
    missing = {}
    for experiment in experiments:
        cells, undone = matrix.cells(experiment), []
        for cell in cells:
            key = (experiment.name, cell.activation, cell.seed)
            try:
                state, reason = cell_state(cell, experiment)
                if state == "done":
                    rows[key], categories[key] = _read(cell, experiment)
                    continue
            except (OSError, ValueError, KeyError, ValidationError) as error:  # hides no other training
                state, reason = "failed", f"unreadable results: {error}"
            undone.append(f"{cell.activation}/seed{cell.seed} {state}: {reason}")
        if undone:
            missing[experiment.name] = f"{len(undone)} of {len(cells)} trainings are not done; {undone[0]}"
    thirds = _rarest_thirds({name: frame["image_count"] for (name, _, _), frame in categories.items()})
    for key, frame in categories.items():
        rare = frame.loc[frame["frequency"] == "r", "AP"].dropna()
        rows[key] |= {RARE: len(rare), ABOVE_ZERO: (rare > 0).sum() if len(rare) else np.nan}
        rows[key][THIRD] = frame.loc[thirds[key[0]], "AP"].mean()
    columns = [*CELL, *METRICS, RARE, "AP at"]
    table = pd.DataFrame(list(rows.values()), columns=columns).set_index(CELL)
    return table.astype(dict.fromkeys(METRICS, float)), missing


def _read(cell: matrix.Cell, experiment: Experiment) -> tuple[dict[str, Any], pd.DataFrame]:
    """The figures of a cell, those of its norms in the mean over stages, and its table of categories."""
    files, split = cell.paths(experiment), experiment.splits[0]
    at = {100: files} | {percent: files.at(percent) for percent in experiment.snapshots}
    masks = {p: json.loads(paths.metrics(split, "matched").read_text())["segm"] for p, paths in at.items()}
    norms = pd.DataFrame(norm_statistics(pd.read_parquet(files.weight_norms)).values()).mean().to_dict()
    own = {"experiment": experiment.name, "activation": cell.activation, "seed": cell.seed}
    own |= {name: value for name, value in (masks[100] | norms).items() if name in METRICS}
    frame = pd.read_parquet(files.per_category(split, "matched"))
    curve = [(percent, masks[percent]["AP"]) for percent in sorted(at)]
    return own | {"AP at": curve}, frame[frame["iou_type"] == "segm"].set_index("category_id").sort_index()


def _rarest_thirds(counts: dict[str, pd.Series]) -> dict[str, list[int]]:
    """The rarest third of each experiment's categories; none where no experiment with these categories has a tail."""
    found = {}
    for experiment, own in counts.items():
        alike = [other for other in counts.values() if other.index.equals(own.index)]
        total = pd.concat(alike, axis=1).sum(axis=1).sort_values(kind="stable")
        found[experiment] = total.index[: len(total) // 3 if 2 * total.iloc[0] < total.iloc[-1] else 0].tolist()
    return found


def paired(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """``study.of`` minus each of ``against``, seed by seed; the activation is the one that is subtracted."""

    def of(activation: str) -> pd.DataFrame:
        chosen = table.index.isin([activation], level="activation")
        return table.loc[chosen, [*METRICS]].droplevel("activation")

    differences = {name: of(study.of) - of(name) for name in study.against}
    return pd.concat(differences, names=["activation"]).reorder_levels(CELL)


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, with 95 % t-intervals where there are two seeds or more.

    Columns: experiment, activation, metric, trainings, value, low, high; without figures that no training has.
    """
    values = table.drop(columns="AP at", errors="ignore").melt(ignore_index=False, var_name="metric").dropna()
    found = values.groupby([*CELL[:2], "metric"], sort=False)["value"].agg(trainings="size", value="mean", std="std")
    reach = [Spread(row.std, row.trainings).reach(row.trainings) for row in found.itertuples()]
    return found.assign(low=found["value"] - reach, high=found["value"] + reach).drop(columns="std").reset_index()


@dataclass(frozen=True)
class _Factor:
    """A factor's name, and its values by the experiments that have them."""

    name: str
    levels: dict[str, str]

    def figure(self, frame: pd.DataFrame, metric: str, title: str, palette: Palette, zero: bool = False) -> Figure:
        rows = frame[frame["metric"] == metric].set_index(CELL[:2])[["value", "low", "high"]] * METRICS[metric].scale
        lines = [name for name in palette if name in frame["activation"].unique()]
        whole = rows.reindex(pd.MultiIndex.from_product([self.levels, lines], names=CELL[:2])).reset_index()
        whole["level"] = whole["experiment"].map(self.levels)
        return figures.by_level(whole, title, self.name, palette, zero)

    def table(self, title: str, frame: pd.DataFrame, metrics: Iterable[str], words: str = "", sign: str = "") -> Table:
        """A row for each level and activation that there is; ``words`` go before the activation."""
        rows = []
        part: Any
        for (experiment, activation), part in frame.groupby(CELL[:2], sort=False):
            if experiment in self.levels:
                of = part.set_index("metric")
                numbers = [_number(metric, of, sign) for metric in metrics]
                name = words + activation_name(str(activation))
                rows.append([self.levels[experiment], name, str(of["trainings"].max()), *numbers])
        rows.sort(key=lambda row: list(self.levels.values()).index(row[0]))
        return Table(title, [self.name, "Activation", "Trainings", *(METRICS[name].title for name in metrics)], rows)


def _factor(name: str, levels: Iterable[Level]) -> _Factor:
    own = {level.experiment.name: level.value for level in levels if level.factor == name}
    return _Factor(name, {key: f"{value:,}" if isinstance(value, int) else str(value) for key, value in own.items()})


def by_factor(study: Study, means: pd.DataFrame, differences: pd.DataFrame) -> list[Part]:
    """What there is of each factor, from what :func:`intervals` returns for the trainings and their differences.

    Factors behind the first of which there is one level are left out: it is the reference, which the first has.
    """
    found = levels(study)
    palette = Palette(found[0].experiment.activations)
    factors = [_factor(name, found) for name in study.factors]
    there = set(means["experiment"])
    varied = [factor for factor in factors[1:] if len(there & factor.levels.keys()) > 1]
    with debug_mode(False):
        drawn = [_part(study, factor, means, differences, palette) for factor in [*factors[:1], *varied]]
    return [part for part in drawn if part.tables]


def _part(study: Study, factor: _Factor, means: pd.DataFrame, differences: pd.DataFrame, palette: Palette) -> Part:
    of, drawn = f"{activation_name(study.of)} − ", {}
    if factor.name == next(iter(study.factors)) and len(means):
        drawn = {f"{name}.svg": factor.figure(means, name, METRICS[name].title, palette) for name in DRAWN}
        for name in ANSWERS if len(differences) else ():
            title = f"{of}others: {METRICS[name].title}"
            drawn[f"difference_{name}.svg"] = factor.figure(differences, name, title, palette, zero=True)
    of_differences = [name for name in METRICS if name != ABOVE_ZERO]
    tables = [factor.table("Means", means, METRICS), factor.table("Differences", differences, of_differences, of, "+")]
    return Part(factor.name, drawn, [table for table in tables if table.rows])


def _number(name: str, of: Any, sign: str = "") -> str:
    """``57.9 (56.0 to 59.8)`` or ``3.3 of 4``; an en dash where there is none."""
    if name not in of.index:
        return "–"
    form = f"{sign}.{METRICS[name].digits}f"
    value, *bounds = (fixed(METRICS[name].scale * of.loc[name, column], form) for column in ("value", "low", "high"))
    if name == ABOVE_ZERO:
        return f"{value} of {of.loc[RARE, 'value']:.0f}"
    return value if np.isnan(of.loc[name, "low"]) else f"{value} ({' to '.join(bounds)})"


def _over_training(levels: Iterable[Level], table: pd.DataFrame, palette: Palette) -> Iterator[Figure]:
    """AP over the trainings of each level."""
    found: Any = table["AP at"]
    for level in levels:
        rows = [
            {"activation": key[1], "seed": key[2], "percent": percent, "value": 100 * value}
            for key, curve in found.items()
            for percent, value in curve
            if key[0] == level.experiment.name
        ]
        if rows:
            yield figures.over_training(pd.DataFrame(rows), f"{level.factor} {level.value}", palette)


def finding(study: Study, differences: pd.DataFrame) -> list[str]:
    """What the differences come to: a sentence, and a line for each figure and activation with clear ones."""
    judged = differences[differences["metric"].isin(ANSWERS)].dropna()
    if judged.empty:
        return ["No difference has an interval yet: that needs two trainings with the same seeds."]
    clear = judged[(judged["low"] > 0) | (judged["high"] < 0)]
    of = activation_name(study.of)
    found = [
        f"{len(clear)} of {len(judged)} differences of {of} from others, in AP and in AP of the rarest third of the "
        f"categories, have an interval without 0; by chance alone, about {0.05 * len(judged):.1f} would."
    ]
    keys: Any
    for keys, part in clear.groupby(["metric", "activation"], sort=False):
        rows = part.set_index("experiment").groupby(level=0, sort=False)
        listed = (f"{_number(keys[0], row.set_index('metric'), '+')} in {name}" for name, row in rows)
        found.append(f"{METRICS[keys[0]].title}, {of} − {activation_name(keys[1])}: {'; '.join(listed)}.")
    return found


def markdown(parts: Iterable[Part], words: list[str], missing: dict[str, str]) -> str:
    """The figures and tables, after the :func:`finding` and what is ``missing``, by experiment."""
    blocks = [words[0], *(f"- {line}" for line in words[1:])]
    blocks += [f"Missing: {name}, {reason}." for name, reason in missing.items()]
    for part in parts:
        blocks.append(f"### `{part.factor}`")
        blocks += [f"![{one.title}. {one.words}]({name})" for name, one in part.figures.items()]
        blocks += [f"{table.title}:\n\n{pipes(table.headings, table.rows)}" for table in part.tables]
    return "\n\n".join(blocks) + "\n"
