"""Tables of the report, as plain rows that the template prints and the exports hold."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from gumbel.evaluation.metrics import SHOWN as METRICS
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Verdict, rule_in_words
from gumbel.words import (
    DETECTORS,
    ERRORS,
    STATISTICS,
    activation_name,
    architecture_name,
    fixed,
    percent,
)


@dataclass(frozen=True)
class Number:
    """A figure in [0, 1] with where it comes from; ``best`` among the activations of its model."""

    value: float | None
    origin: str
    best: bool = False
    difference: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def shown(self) -> str:
        return percent(self.value)

    @property
    def bounds(self) -> str:
        """The interval as ``15.1–17.9``; empty without one."""
        return "" if self.interval is None else "–".join(percent(bound) for bound in self.interval)


@dataclass(frozen=True)
class MatrixRow:
    """A model's activation under one scoring; ``hours`` are of devices: a training on 8 counts eightfold."""

    architecture: str
    activation: str
    scoring: str
    state: str
    reason: str
    seeds: int
    figures: dict[tuple[str, str], Number]
    paper: dict[tuple[str, str], Number]
    hours: float | None
    seconds: float | None
    device: str
    other_splits: dict[str, tuple[Number, Number]]

    @property
    def name(self) -> str:
        return activation_name(self.activation, self.scoring)

    @property
    def model(self) -> str:
        return architecture_name(self.architecture)

    @property
    def detector(self) -> str:
        return DETECTORS.get(self.architecture, self.architecture)


def matrix_rows(summary: pd.DataFrame, experiment: Experiment) -> list[MatrixRow]:
    """One row per architecture, activation and scoring, in the order of the configuration; seeds are averaged."""
    lookup = _Lookup(summary)
    rows = []
    for architecture in experiment.architectures:
        block = [
            _matrix_row(lookup, experiment, architecture, activation, scoring)
            for activation in experiment.activations
            for scoring in matrix.scorings(experiment, activation)
        ]
        rows += _mark_best(block)
    return rows


class _Lookup:
    """Figures of a summary by what they belong to."""

    def __init__(self, summary: pd.DataFrame):
        self.cells = summary[summary["source"] == "cell"].set_index(["architecture", "activation"]).sort_index()
        scored = summary[(summary["source"] == "evaluation") & summary["value"].notna()]
        keys = ["split", "architecture", "activation", "scoring", "iou_type", "metric"]
        self.ours = scored.groupby(keys)["value"].agg(["mean", "count", "min", "max"]).to_dict("index")
        means = summary[summary["source"] == "mean"].dropna(subset=["low", "high"])
        self.bounds = means.set_index(keys)[["low", "high"]].apply(tuple, axis=1).to_dict()
        self.trained = _trained(summary[summary["source"] == "manifest"])
        paper = summary[summary["source"] == "paper"]
        self.paper = paper.set_index(keys[1:])[["value", "text"]].to_dict("index")

    def number(self, split: str, *key: str) -> Number:
        found = self.ours.get((split, *key))
        if found is None:
            return Number(None, "not measured")
        spread = (
            "n=1" if found["count"] == 1 else f"n={found['count']}, {percent(found['min'])} to {percent(found['max'])}"
        )
        return Number(found["mean"], f"{split}, {spread}", interval=self.bounds.get((split, *key)))

    def published(self, *key: str) -> Number:
        found = self.paper.get(key)
        return Number(None, "unpublished") if found is None else Number(found["value"], found["text"])


def _trained(recorded: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Training time over all seeds, by architecture and activation: seconds, hours of devices, and the devices."""
    runs: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    row: Any
    for row in recorded.itertuples():
        run = runs.setdefault((row.architecture, row.activation), {}).setdefault(row.seed, {})
        run[row.metric] = row.text if pd.isna(row.value) else row.value
    # Weights that were trained elsewhere have no time
    timed = {key: [run for run in seeds.values() if "seconds" in run] for key, seeds in runs.items()}
    return {key: _time(trainings) for key, trainings in timed.items() if trainings}


def _time(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    timed = [(run["seconds"], int(run.get("world_size", 1)), run.get("device", "an unknown device")) for run in runs]
    return {
        "hours": sum(seconds * devices / 3600 for seconds, devices, _ in timed),
        "seconds": sum(seconds for seconds, *_ in timed),
        "device": ", ".join({f"{number} × {device.partition(':')[0]}": None for _, number, device in timed}),
    }


def _matrix_row(lookup: _Lookup, experiment: Experiment, architecture: str, activation: str, scoring: str) -> MatrixRow:
    cells = lookup.cells.loc[[(architecture, activation)]]
    states = cells["state"].tolist()
    state = next((s for s in ("failed", "missing") if s in states), "done")
    reasons = "; ".join(cells["text"].dropna().unique())
    cell = (architecture, activation, scoring)
    figures, paper = {}, {}
    for figure in METRICS:
        ours, published = lookup.number(experiment.splits[0], *cell, *figure), lookup.published(*cell, *figure)
        comparable = experiment.reproduction and ours.value is not None and published.value is not None
        difference = ours.value - published.value if comparable else None  # type: ignore[operator]
        figures[figure], paper[figure] = replace(ours, difference=difference), published
    others = {
        split: (lookup.number(split, *cell, "segm", "AP"), lookup.number(split, *cell, "segm", "APr"))
        for split in experiment.splits[1:]
    }
    trained: dict[str, Any] = lookup.trained.get((architecture, activation), {})
    return MatrixRow(
        architecture,
        activation,
        scoring,
        state,
        reasons,
        states.count("done"),
        figures,
        paper,
        trained.get("hours"),
        trained.get("seconds"),
        trained.get("device", "an unknown device"),
        others,
    )


def _mark_best(block: list[MatrixRow]) -> list[MatrixRow]:
    """Mark the highest of each figure among the activations as they were trained."""
    for figure in METRICS:
        rows = [row for row in block if row.scoring == "matched" and row.figures[figure].value is not None]
        top = max((row.figures[figure].value or 0.0 for row in rows), default=None)
        for row in rows:
            number = row.figures[figure]
            if len(rows) > 1 and number.shown == percent(top):
                row.figures[figure] = replace(number, best=True)
    return block


def matrix_frame(rows: Iterable[MatrixRow]) -> pd.DataFrame:
    """The matrix as a table, values x 100; absent figures are empty."""
    records = []
    for row in rows:
        record: dict[str, Any] = {
            "architecture": row.architecture,
            "activation": row.activation,
            "scoring": row.scoring,
        }
        record |= {"state": row.state, "reason": row.reason, "seeds_done": row.seeds}
        for figure, heading in METRICS.items():
            number = row.figures[figure]
            record[heading] = _hundredfold(number.value)
            low, high = number.interval or (None, None)
            record |= {f"{heading} (low)": _hundredfold(low), f"{heading} (high)": _hundredfold(high)}
            record[f"{heading} (paper)"] = _hundredfold(row.paper[figure].value)
        record |= {"device_hours": row.hours, "training_seconds": row.seconds}
        for split, (ap, rare) in row.other_splits.items():
            record |= {f"AP ({split})": _hundredfold(ap.value), f"APr ({split})": _hundredfold(rare.value)}
        records.append(record)
    return pd.DataFrame(records)


def _hundredfold(value: float | None) -> float | None:
    return None if value is None else 100 * value


@dataclass(frozen=True)
class Decision:
    """A claim with its verdicts; beside each, the published difference where there is one."""

    claim: Claim
    rule: str
    verdicts: list[tuple[Verdict, str]]


def decisions(verdicts: Iterable[Verdict], summary: pd.DataFrame) -> list[Decision]:
    """Verdicts grouped by claim, in order."""
    grouped: dict[str, Decision] = {}
    lookup = _Lookup(summary)
    for verdict in verdicts:
        claim = verdict.claim
        group = grouped.setdefault(claim.id, Decision(claim, rule_in_words(claim), []))
        group.verdicts.append((verdict, _published_difference(verdict, lookup)))
    return list(grouped.values())


def _published_difference(verdict: Verdict, lookup: _Lookup) -> str:
    """What the paper reports for a claim about a difference, such as ``19.0 − 15.2 = +3.8``; else empty."""
    claim = verdict.claim
    if claim.rule != "difference":
        return ""
    values = []
    for side in (claim.evidence.of, claim.evidence.against[0]):
        key = (str(verdict.architecture), side.activation, side.scoring, claim.evidence.iou_type, claim.evidence.metric)
        values.append(lookup.published(*key).value)
    first, second = values
    if first is None or second is None:
        return "unpublished"
    return f"{percent(first)} − {percent(second)} = {percent(first - second, sign=True)}"


def claims_frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """Verdicts as a table: one row a claim and architecture."""
    return pd.DataFrame(
        {
            "claim": v.claim.id,
            "architecture": v.architecture,
            "statement": v.claim.statement,
            "verdict": v.outcome,
            "value": v.value,
            "low": v.interval and v.interval[0],
            "high": v.interval and v.interval[1],
            "threshold": v.claim.threshold.value,
            "unit": v.claim.threshold.unit,
            "evidence": v.evidence,
        }
        for v in verdicts
    )


def norm_rows(summary: pd.DataFrame, activations: Iterable[str]) -> list[dict[str, Any]]:
    """Weight norm statistics: a row per architecture and stage, values per statistic and activation, seeds averaged."""
    rows = summary[summary["source"] == "weight_norms"]
    means = rows.groupby(["architecture", "text", "metric", "activation"], sort=False)["value"].mean().to_dict()
    stages = rows.groupby("architecture", sort=False)["text"].unique()
    return [
        {
            "architecture": architecture,
            "model": architecture_name(architecture),
            "stage": f"stage {int(stage) + 1}" if len(stages[architecture]) > 1 else "",
            "values": [
                [fixed(means.get((architecture, stage, s, name)), ".2f") for name in activations] for s in STATISTICS
            ],
        }
        for architecture in stages.index
        for stage in stages[architecture]
    ]


def distribution_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Object distribution per frequency group."""
    rows = summary[summary["source"] == "object_distribution"]
    groups = rows.pivot_table(index="text", columns="metric", values="value", sort=False) if len(rows) else rows
    return [
        {"group": group} | {str(metric): value for metric, value in groups.loc[group].dropna().items()}
        for group in groups.index
    ]


def error_rows(summary: pd.DataFrame, experiment: Experiment) -> list[dict[str, Any]]:
    """AP50 x 100 that each type of error costs: a row per architecture and type, seeds averaged, as trained.

    ``costs`` per activation; ``differences`` of the compared activation from each other one.
    """
    rows = summary[(summary["source"] == "errors") & (summary["scoring"] == "matched") & (summary["text"] == "all")]
    means = rows.groupby(["architecture", "metric", "activation"], sort=False)["value"].mean().mul(100).to_dict()
    of = "gumbel" if "gumbel" in experiment.activations else experiment.activations[-1]
    found = []
    for architecture in experiment.architectures:
        for kind, label in ERRORS.items():
            costs = {name: means.get((architecture, kind, name), np.nan) for name in experiment.activations}
            if not np.isnan(list(costs.values())).all():
                differences = {name: costs[of] - cost for name, cost in costs.items() if name != of}
                shown = {name: fixed(cost, ".1f") for name, cost in costs.items()}
                signed = {name: fixed(value, "+.1f") for name, value in differences.items()}
                model = architecture_name(architecture)
                found.append({"model": model, "kind": label, "costs": shown, "of": of, "differences": signed})
    return found
