"""The matrix of results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gumbel.evaluation.metrics import SHOWN
from gumbel.experiment import matrix
from gumbel.report.page.results import PageSection, Results
from gumbel.report.verdicts.claims import Verdict, count
from gumbel.words import SIMULATED, activation_name, architecture_name, percent


class Number(NamedTuple):
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
    """A model's activation under one scoring, and what its trainings took.

    ``hours`` are of devices: a training on 8 GPUs, or with 8 threads on a CPU, counts eightfold. ``memory`` is the
    largest peak in bytes, ``step`` seconds an iteration, ``waited`` the largest share of a training's time in which it
    waited for data, and ``files`` those of the first seed that are there.
    """

    architecture: str
    activation: str
    scoring: str
    state: str
    reason: str
    seeds: int
    figures: dict[tuple[str, str], Number]
    paper: dict[tuple[str, str], Number]
    other_splits: dict[str, tuple[Number, Number]]
    verdicts: list[Verdict]
    hours: float | None = None
    seconds: float | None = None
    device: str = "an unknown device"
    memory: int | None = None
    step: float | None = None
    waited: float | None = None
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return activation_name(self.activation, self.scoring)

    @property
    def model(self) -> str:
        return architecture_name(self.architecture)


class Matrix(PageSection):
    """A row per architecture, activation and scoring, in the order of the configuration; seeds are averaged."""

    title = "Matrix"
    metrics = SHOWN

    def __init__(self, results: Results):
        experiment, lookup = results.experiment, _Figures(results)
        self.rows: list[MatrixRow] = []
        for architecture in experiment.architectures:
            block = [
                _row(lookup, results, architecture, activation, scoring)
                for activation in experiment.activations
                for scoring in matrix.scorings(experiment, activation)
            ]
            self.rows += _mark_best(block)
        self.in_the_paper = [row for row in self.rows if any(n.value is not None for n in row.paper.values())]
        self.counts = count(results.verdicts)
        on_gpu = any(str(record.get("device")).startswith("cuda") for record in results.manifests)
        self.hours_of = "GPU" if on_gpu else "Core"
        self.released = " or ".join(name for name in experiment.released_scoring if name in experiment.activations)
        self.note = matrix.data(experiment).note
        self.coverage = SIMULATED["mean" if results.several_seeds else "single"]


class _Figures:
    """Figures of a summary by what they belong to."""

    def __init__(self, results: Results):
        summary = results.summary
        self.cells = summary[summary["source"] == "cell"].set_index(["architecture", "activation"]).sort_index()
        scored = summary[(summary["source"] == "evaluation") & summary["value"].notna()]
        keys = ["split", "architecture", "activation", "scoring", "iou_type", "metric"]
        self.ours = scored.groupby(keys)["value"].agg(["mean", "count", "min", "max"]).to_dict("index")
        means = summary[summary["source"] == "mean"].dropna(subset=["low", "high"])
        self.bounds = means.set_index(keys)[["low", "high"]].apply(tuple, axis=1).to_dict()
        self.paper = results.published

    def number(self, split: str, *key: str) -> Number:
        found = self.ours.get((split, *key))
        if found is None:
            return Number(None, "not measured")
        spread = (
            "n=1" if found["count"] == 1 else f"n={found['count']}, {percent(found['min'])} to {percent(found['max'])}"
        )
        return Number(found["mean"], f"{split}, {spread}", interval=self.bounds.get((split, *key)))


def _time(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What the trainings of all seeds took; nothing of weights trained elsewhere."""
    timed = [(each["seconds"], devices(each), each.get("device")) for each in records]
    steps = [each["iteration_seconds"] / each["iterations"] for each in records if each.get("iteration_seconds")]
    memory = [each.get("peak_gpu_memory_bytes") or each.get("peak_memory_bytes") or 0 for each in records]
    return {
        "hours": sum(seconds * number / 3600 for seconds, number, _ in timed),
        "seconds": sum(seconds for seconds, *_ in timed),
        "device": ", ".join({f"{n} × {(d or 'an unknown device').partition(':')[0]}": None for _, n, d in timed}),
        "memory": max(memory) or None,
        "step": sum(steps) / len(steps) if steps else None,
    }


def devices(record: Mapping[str, Any]) -> int:
    """How many GPUs a training ran on, or cores where it had none."""
    on_cpu = str(record.get("device")).startswith("cpu")
    return int(record.get("world_size", 1)) * (int(record.get("threads") or 1) if on_cpu else 1)


def _row(lookup: _Figures, results: Results, architecture: str, activation: str, scoring: str) -> MatrixRow:
    cells = lookup.cells.loc[[(architecture, activation)]]
    states = cells["state"].tolist()
    cell = (architecture, activation, scoring)
    figures, paper = {}, {}
    for figure in SHOWN:
        ours, published = lookup.number(results.split, *cell, *figure), lookup.paper.get((*cell, *figure))
        if results.experiment.reproduction and ours.value is not None and published is not None:
            ours = ours._replace(difference=ours.value - published[0])
        figures[figure] = ours
        paper[figure] = Number(*published) if published else Number(None, "unpublished")
    others = {
        split: (lookup.number(split, *cell, "segm", "AP"), lookup.number(split, *cell, "segm", "APr"))
        for split in results.experiment.splits[1:]
    }
    about = [v for v in results.verdicts if v.side and (v.architecture, v.side.activation, v.side.scoring) == cell]
    runs = [run for run in results.runs if (run.architecture, run.activation) == (architecture, activation)]
    timed = [run.manifest for run in runs if "seconds" in run.manifest]
    paths = matrix.Cell(architecture, activation, results.experiment.seeds[0]).paths(results.experiment)
    files = {"config": paths.config, "weights": paths.checkpoint, "log": paths.log("train")}
    return MatrixRow(
        *cell,
        state=next((state for state in ("failed", "missing") if state in states), "done"),
        reason="; ".join(cells["text"].dropna().unique()),
        seeds=states.count("done"),
        figures=figures,
        paper=paper,
        other_splits=others,
        verdicts=about,
        waited=max((run.waited for run in runs if run.waited is not None), default=None),
        files={name: path for name, path in files.items() if path.exists()},
        **_time(timed) if timed else {},
    )


def _mark_best(block: list[MatrixRow]) -> list[MatrixRow]:
    """Mark a figure whose interval lies above those of all other activations, as they were trained."""
    trained = [row for row in block if row.scoring == "matched"]
    for figure in SHOWN:
        bounds = {row.activation: found for row in trained if (found := row.figures[figure].interval)}
        for row in trained:
            others = [high for name, (_, high) in bounds.items() if name != row.activation]
            if row.activation in bounds and others and bounds[row.activation][0] > max(others):
                row.figures[figure] = row.figures[figure]._replace(best=True)
    return block


def matrix_frame(rows: Iterable[MatrixRow]) -> pd.DataFrame:
    """The matrix as a table, values x 100; absent figures are empty."""
    records = []
    for row in rows:
        figures: dict[str, float | None] = {}
        for figure, heading in SHOWN.items():
            low, high = row.figures[figure].interval or (None, None)
            figures |= {heading: row.figures[figure].value, f"{heading} (low)": low, f"{heading} (high)": high}
            figures[f"{heading} (paper)"] = row.paper[figure].value
        others: dict[str, float | None] = {}
        for split, (ap, rare) in row.other_splits.items():
            others |= {f"AP ({split})": ap.value, f"APr ({split})": rare.value}
        records.append(
            {key: getattr(row, key) for key in ("architecture", "activation", "scoring", "state", "reason")}
            | {"seeds_done": row.seeds, **(100 * pd.Series(figures, dtype=float))}
            | {"device_hours": row.hours, "training_seconds": row.seconds, **(100 * pd.Series(others, dtype=float))}
        )
    return pd.DataFrame(records)
