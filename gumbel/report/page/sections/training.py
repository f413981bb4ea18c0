"""How the trainings went, and what the scores are worth."""

import json
import re
from collections.abc import Iterator
from typing import Any

from gumbel.report.drawing import diagrams, figures
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import PageSection, Results
from gumbel.words import architecture_name

#: The share of regions that a configuration lets be objects, in the box head's sampler.
_SAMPLED = re.compile(r"rcnn=.*?pos_fraction=([\d.]+)", re.DOTALL)


class TrainingCurves(PageSection):
    """Of every architecture: loss and accuracy of the classifier, mask AP over training, scores and calibration.

    ``background``: the accuracy of always answering background, at least: what the sampler leaves beside objects.
    """

    title = "Training"

    def __init__(self, results: Results):
        positives = [found[1] for run in results.runs if run.config and (found := _SAMPLED.search(run.config))]
        self.background = f"{100 * (1 - float(positives[0])):.0f}" if positives else None
        loss: list[Figure] = []
        accuracy: list[Figure] = []
        scores: list[Figure] = []
        calibration: list[Figure] = []
        for architecture in results.experiment.architectures:
            name, palette = architecture_name(architecture), results.palette
            table = results.stacked(architecture, "history")
            if len(table):
                losses = [column for column in table if str(column).endswith("loss_cls") and "rpn" not in str(column)]
                total = table[losses].sum(axis=1) if losses else table["loss"]
                loss.append(figures.training(table.assign(value=total), name, palette))
                if accuracies := [column for column in table if str(column).split(".")[-1] == "acc"]:
                    mean = table.assign(value=table[accuracies].mean(axis=1))
                    accuracy.append(figures.training(mean, name, palette, zero=False))
            if records := dict(error_records(results, architecture)):
                histograms = {key: record["scores"] for key, record in records.items()}
                scores.append(diagrams.scores(histograms, name, palette))
                curves = {key: record["calibration"] for key, record in records.items()}
                calibration.append(diagrams.calibration(curves, name, palette))
        self.figures = {
            "training loss": loss,
            "training accuracy": accuracy,
            "AP over training": _over_training(results, "AP"),
            "APr over training": _over_training(results, "APr"),
            "detections scores": scores,
            "detections calibration": calibration,
        }


def _over_training(results: Results, metric: str) -> list[Figure]:
    """A figure of the masks, of the architectures that were evaluated in between, as trained."""
    summary = results.summary
    shown = (summary["iou_type"] == "segm") & (summary["scoring"] == "matched") & summary["value"].notna()
    shown &= summary["split"] == results.split
    rows = summary[shown & summary["source"].isin(["over_training", "evaluation"])]
    rows = rows.assign(percent=rows["text"].fillna("100").astype(int), value=100 * rows["value"])
    kept = set(rows[rows["source"] == "over_training"]["architecture"])
    of = rows[rows["metric"] == metric].groupby("architecture")
    return [
        figures.over_training(of.get_group(name), architecture_name(name), results.palette)
        for name in results.experiment.architectures
        if name in kept and name in of.groups
    ]


def error_records(results: Results, architecture: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Types of error, scores and calibration of an architecture's activations; first seed, as trained."""
    for activation, paths in results.first_cells(architecture):
        path = paths.errors(results.split, "matched")
        if path.exists():
            yield activation, json.loads(path.read_text())
