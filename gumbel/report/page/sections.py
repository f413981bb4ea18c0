"""What each section of the page draws, read from the files of the cells."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gumbel.analysis import object_distribution
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import ExperimentPaths
from gumbel.report.drawing import diagrams, figures
from gumbel.report.drawing.figures import Figure
from gumbel.words import ERRORS, FREQUENCIES, architecture_name

Row = dict[str, Any]


def poster(summary: pd.DataFrame, experiment: Experiment) -> list[tuple[str, list[Figure]]]:
    """The paper's figure: ours with the paper's as hollow marks in a reproduction, else in panels of its own."""
    scored = summary[(summary["iou_type"] == "segm") & summary["value"].notna()]
    own = scored[(scored["split"] == experiment.splits[0]) & (scored["scoring"] == "matched")]
    # bounds are those of the mean over seeds
    ours = pd.concat(
        [
            own[own["source"] == "evaluation"].assign(low=np.nan, high=np.nan),
            own[own["source"] == "mean"].assign(value=np.nan),
        ]
    )
    groups = {"This experiment": ours.assign(published=False)}
    paper = scored[scored["source"] == "paper"].assign(published=True)
    if experiment.reproduction:
        groups = {"This experiment; the paper’s as hollow marks": pd.concat([groups.popitem()[1], paper])}
    else:
        groups["The paper, on LVIS v1 val"] = paper
    models = [architecture_name(name) for name in experiment.architectures]
    return [(title, _poster_pair(frame, models)) for title, frame in groups.items() if len(frame)]


def _poster_pair(frame: pd.DataFrame, models: list[str]) -> list[Figure]:
    keys = ["metric", "architecture", "activation", "published"]
    means = frame.groupby(keys, sort=False)[["value", "low", "high"]].mean().mul(100).reset_index()
    means["model"] = means["architecture"].map(architecture_name)
    titles = {"AP": "Mask AP × 100", "APr": "Mask AP × 100 on rare categories, APr"}
    return [figures.results(means[means["metric"] == metric], title, models) for metric, title in titles.items()]


def stacked(experiment: Experiment, architecture: str, table: str) -> pd.DataFrame:
    """A table of every cell of an architecture that has written it, with its activation; the first seed's."""
    parts = []
    for activation in experiment.activations:
        path = getattr(matrix.Cell(architecture, activation, experiment.seeds[0]).paths(experiment), table)
        # Without rows where the weights come from elsewhere: there is no history
        if path.exists() and len(part := pd.read_parquet(path)):
            parts.append(part.assign(activation=activation))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def norms(experiment: Experiment) -> dict[str, list[Figure]]:
    """Norms of every architecture in both orders: of the last stage, and of the stages before it."""
    drawn: dict[str, list[Figure]] = {"by_images": [], "by_size": [], "earlier": []}
    for architecture in experiment.architectures:
        table = stacked(experiment, architecture, "weight_norms")
        stages = sorted(table["stage"].unique()) if len(table) else []
        for stage in stages:
            part = table[table["stage"] == stage]
            title = architecture_name(architecture)
            title += f", stage {stage + 1} of {len(stages)}" if len(stages) > 1 else ""
            both = [figures.weight_norms(part, title), figures.sorted_norms(part, title)]
            if stage == stages[-1]:
                drawn["by_images"].append(both[0])
                drawn["by_size"].append(both[1])
            else:
                drawn["earlier"] += both
    return drawn


def training(experiment: Experiment) -> dict[str, list[Figure]]:
    """Classification loss, summed over stages, and accuracy, the mean over stages, of every architecture."""
    drawn: dict[str, list[Figure]] = {"loss": [], "accuracy": []}
    for architecture in experiment.architectures:
        table, name = stacked(experiment, architecture, "history"), architecture_name(architecture)
        if table.empty:
            continue
        losses = [column for column in table if str(column).endswith("loss_cls") and "rpn" not in str(column)]
        total = table[losses].sum(axis=1) if losses else table["loss"]
        drawn["loss"].append(figures.training(table.assign(value=total), name))
        accuracies = [column for column in table if str(column).split(".")[-1] == "acc"]
        if accuracies:
            drawn["accuracy"].append(
                figures.training(table.assign(value=table[accuracies].mean(axis=1)), name, zero=False)
            )
    return drawn


def over_training(experiment: Experiment, summary: pd.DataFrame) -> dict[str, list[Figure]]:
    """Mask AP, of all and of rare categories, of every architecture over its training; first seed, as trained."""
    shown = (summary["iou_type"] == "segm") & (summary["scoring"] == "matched")
    shown &= (summary["split"] == experiment.splits[0]) & (summary["seed"] == experiment.seeds[0])
    rows = summary[shown & summary["source"].isin(["over_training", "evaluation"])]
    rows = rows.assign(percent=rows["text"].fillna("100").astype(int), value=100 * rows["value"])
    kept = rows[rows["source"] == "over_training"]
    return {
        metric: [
            figures.over_training(own, architecture_name(architecture))
            for architecture in experiment.architectures
            if (kept["architecture"] == architecture).any()
            and len(
                own := rows[(rows["architecture"] == architecture) & (rows["metric"] == metric)].dropna(subset="value")
            )
        ]
        for metric in ("AP", "APr")
    }


def distribution(experiment: Experiment) -> Row:
    """Heat maps and scatters of the object distribution; empty where it was not computed."""
    path = ExperimentPaths(experiment.name).object_distribution
    if not path.exists():
        return {}
    found = object_distribution.load(path)
    groups = {FREQUENCIES[letter]: found["frequency"] == letter for letter in FREQUENCIES}
    frame = pd.DataFrame({key: found[key] for key in ("image_count", "expected", "frequency")})
    frame["frequency"] = frame["frequency"].map(FREQUENCIES)
    frame["imbalance"] = 1 - found["location_entropy"]
    maps = [
        figures.heat_map(found["probability"][chosen].mean(axis=0), name)
        for name, chosen in groups.items()
        if chosen.any()
    ]
    return {
        "maps": maps,
        "scatters": [
            figures.expected_occurrence(frame, "Expected occurrence, by training images"),
            figures.location_imbalance(frame, "Class against location imbalance"),
        ],
        "grid": found["probability"].shape[-1],
        "images": int(found["images"]),
    }


def detections(experiment: Experiment) -> dict[str, list[Figure]]:
    """Score histograms, calibration and the costs of errors of every architecture; first seed, as trained."""
    drawn: dict[str, list[Figure]] = {"scores": [], "calibration": [], "errors": []}
    for architecture in experiment.architectures:
        records, name = dict(_error_records(experiment, architecture)), architecture_name(architecture)
        if not records:
            continue
        drawn["scores"].append(diagrams.scores({key: record["scores"] for key, record in records.items()}, name))
        curves = {key: record["calibration"] for key, record in records.items()}
        drawn["calibration"].append(diagrams.calibration(curves, name))
        costs = [
            {"kind": ERRORS[kind], "activation": activation, "cost": None if cost is None else 100 * cost}
            for activation, record in records.items()
            for kind, error in record["errors"].items()
            for cost in [error["cost"]["all"]]
        ]
        drawn["errors"].append(diagrams.error_costs(pd.DataFrame(costs).astype({"cost": float}), name))
    return drawn


def _error_records(experiment: Experiment, architecture: str) -> Iterator[tuple[str, Row]]:
    for activation in experiment.activations:
        cell = matrix.Cell(architecture, activation, experiment.seeds[0])
        path = cell.paths(experiment).errors(experiment.splits[0], "matched")
        if path.exists():
            yield activation, json.loads(path.read_text())
