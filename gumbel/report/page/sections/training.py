"""How the trainings went, and what the scores are worth."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gumbel.report.drawing import diagrams, figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import Figures, PageSection, Results
from gumbel.words import architecture_name


@dataclass(frozen=True)
class TrainingCurves(PageSection):
    """Of every architecture: loss and accuracy of the classifier, mask AP over training, scores and calibration."""

    loss: list[Figure]
    accuracy: list[Figure]
    over_training: Figures
    scores: list[Figure]
    calibration: list[Figure]

    title = "Training"

    @property
    def figures(self) -> Figures:
        return {
            "training loss": self.loss,
            "training accuracy": self.accuracy,
            **{f"{metric} over training": drawn for metric, drawn in self.over_training.items()},
            "detections scores": self.scores,
            "detections calibration": self.calibration,
        }


def make(results: Results) -> TrainingCurves:
    made = TrainingCurves([], [], _over_training(results), [], [])
    for architecture in results.experiment.architectures:
        name, palette = architecture_name(architecture), results.palette
        table = results.stacked(architecture, "history")
        if len(table):
            losses = [column for column in table if str(column).endswith("loss_cls") and "rpn" not in str(column)]
            total = table[losses].sum(axis=1) if losses else table["loss"]
            made.loss.append(figures.training(table.assign(value=total), name, palette))
            accuracies = [column for column in table if str(column).split(".")[-1] == "acc"]
            if accuracies:
                mean = table.assign(value=table[accuracies].mean(axis=1))
                made.accuracy.append(figures.training(mean, name, palette, zero=False))
        if records := dict(error_records(results, architecture)):
            histograms = {key: record["scores"] for key, record in records.items()}
            made.scores.append(diagrams.scores(histograms, name, palette))
            curves = {key: record["calibration"] for key, record in records.items()}
            made.calibration.append(diagrams.calibration(curves, name, palette))
    return made


def _over_training(results: Results) -> Figures:
    """Mask AP, of all and of rare categories; first seed, as trained."""
    summary = results.summary
    shown = (summary["iou_type"] == "segm") & (summary["scoring"] == "matched")
    shown &= (summary["split"] == results.split) & (summary["seed"] == results.experiment.seeds[0])
    rows = summary[shown & summary["source"].isin(["over_training", "evaluation"])]
    rows = rows.assign(percent=rows["text"].fillna("100").astype(int), value=100 * rows["value"])
    kept = set(rows[rows["source"] == "over_training"]["architecture"])
    drawn: Figures = {"AP": [], "APr": []}
    for metric, found in drawn.items():
        for architecture in results.experiment.architectures:
            own: pd.DataFrame = rows[(rows["architecture"] == architecture) & (rows["metric"] == metric)]
            own = own.dropna(subset="value")
            if architecture in kept and len(own):
                found.append(figures.over_training(own, architecture_name(architecture), results.palette))
    return drawn


def error_records(results: Results, architecture: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Types of error, scores and calibration of an architecture's activations; first seed, as trained."""
    for activation, paths in results.first_cells(architecture):
        path = paths.errors(results.split, "matched")
        if path.exists():
            yield activation, json.loads(path.read_text())
