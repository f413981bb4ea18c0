"""How well training the classification layer alone predicts how activations compare after full training."""

import json
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from gumbel.analysis.weight_norms import rank_correlation
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CellPaths, ExperimentPaths
from gumbel.words import architecture_name, percent

METRICS = ("AP", "APr", "APc", "APf")


def figures(experiment: Experiment) -> pd.DataFrame:
    """Mask figures of every cell on the first split, one row each: architecture, activation, seed, metric, full, head.

    ``full`` is the fully trained cell's figure, ``head`` head-only's, both as trained, unrounded; NaN where missing.
    """
    rows = []
    for cell in matrix.cells(experiment):
        full = _metrics(cell.paths(experiment), experiment)
        head = _metrics(ExperimentPaths(experiment.name).head_only(**vars(cell)), experiment)
        rows += [vars(cell) | {"metric": name, "full": full.get(name), "head": head.get(name)} for name in METRICS]
    return pd.DataFrame(rows)


def _metrics(files: CellPaths, experiment: Experiment) -> dict[str, Any]:
    path = files.metrics(experiment.splits[0], "matched")
    return json.loads(path.read_text())["segm"] if path.exists() else {}


def agreement(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """How the order of the activations in ``head`` agrees with that in ``full``, in ``metric``.

    ``pairs``: pairs of activations of the same architecture and seed that have both figures and differ in both;
    ``alike``: those among them that both order alike, of which chance gives half; ``correlation``: Spearman's rank
    correlation of the differences within the pairs.
    """
    known = table[table["metric"] == metric].dropna(subset=["full", "head"])
    pairs = [
        first - second
        for _, cells in known.groupby(["architecture", "seed"], sort=False)
        for first, second in combinations(cells[["full", "head"]].to_numpy(dtype=float), 2)
    ]
    full, head = np.array([pair for pair in pairs if pair.all()]).reshape(-1, 2).T
    correlation = float(rank_correlation(full, head)) if len(full) > 1 else float("nan")
    return {"pairs": len(full), "alike": int((full * head > 0).sum()), "correlation": correlation}


def as_text(table: pd.DataFrame, experiment: Experiment) -> str:
    """The table for a terminal, and a line a metric on how the orders agree."""
    lines = [
        f"mask AP x 100 on {experiment.splits[0]}: full training | classification layer alone, "
        f"on the detector of {experiment.head_only.detector}",
        f"{'model':<7} {'activation':<16} seed" + "".join(f"{metric:>14}" for metric in METRICS),
    ]
    for (architecture, activation, seed), rows in table.groupby(["architecture", "activation", "seed"], sort=False):
        values: Any = rows.set_index("metric").to_dict("index")
        numbers = "".join(
            f"{percent(values[metric]['full']):>7}{' |' + percent(values[metric]['head']).rjust(5):>7}"
            for metric in METRICS
        )
        lines.append(f"{architecture_name(str(architecture)):<7} {activation:<16} {seed:>3} {numbers}")
    for metric in METRICS:
        found = agreement(table, metric)
        lines.append(
            f"{metric}: {found['alike']} of {found['pairs']} pairs of activations ordered alike, "
            f"rank correlation of their differences {found['correlation']:.2f}"
        )
    return "\n".join(lines)
