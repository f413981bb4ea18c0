"""What the types of error cost."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from gumbel.report.drawing import diagrams
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.training import error_records
from gumbel.words import ERRORS, activation_name, architecture_name, fixed


class ErrorRow(NamedTuple):
    """AP50 x 100 that a type of error costs each activation, and by how much ``of`` differs from each other one."""

    model: str
    kind: str
    costs: dict[str, str]
    differences: dict[str, str]


class ErrorCosts(PageSection):
    """A row per architecture and type, seeds averaged, as trained; ``of`` is the activation that is compared."""

    title = "Errors"

    def __init__(self, results: Results):
        of = results.compared[0] if results.compared else results.experiment.activations[-1]
        self.of = activation_name(of)
        self.rows = _rows(results, of)
        self.figures = {"detections errors": _drawn(results)}


def _drawn(results: Results) -> list[Figure]:
    drawn = []
    for architecture in results.experiment.architectures:
        costs = [
            {"kind": ERRORS[kind], "activation": activation, "cost": None if cost is None else 100 * cost}
            for activation, record in error_records(results, architecture)
            for kind, error in record["errors"].items()
            for cost in [error["cost"]["all"]]
        ]
        if costs:
            frame = pd.DataFrame(costs).astype({"cost": float})
            drawn.append(diagrams.error_costs(frame, architecture_name(architecture), results.palette))
    return drawn


def _rows(results: Results, of: str) -> list[ErrorRow]:
    rows = results.summary
    rows = rows[(rows["source"] == "errors") & (rows["scoring"] == "matched") & (rows["text"] == "all")]
    means = rows.groupby(["architecture", "metric", "activation"], sort=False)["value"].mean().mul(100).to_dict()
    found = []
    for architecture in results.experiment.architectures:
        for kind, label in ERRORS.items():
            costs = {name: means.get((architecture, kind, name), np.nan) for name in results.activations}
            if not np.isnan(list(costs.values())).all():
                differences = {name: fixed(costs[of] - cost, "+.1f") for name, cost in costs.items() if name != of}
                shown = {name: fixed(cost, ".1f") for name, cost in costs.items()}
                found.append(ErrorRow(architecture_name(architecture), label, shown, differences))
    return found
