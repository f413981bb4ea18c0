"""How well training the classification layer alone predicts how activations compare after full training."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from gumbel.analysis.weight_norms import rank_correlation
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CellPaths, ExperimentPaths
from gumbel.words import architecture_name, percent

METRICS = ("AP", "APr", "APc", "APf")


def figures(experiment: Experiment, root: Path = Path(".")) -> pd.DataFrame:
    """Mask figures of every cell on the first split, one row each: architecture, activation, seed, metric, full, head.

    ``full`` is the fully trained cell's figure, ``head`` head-only's, both as trained, unrounded; NaN where missing.
    """
    columns = ["architecture", "activation", "seed", "metric", "full", "head"]
    return pd.DataFrame(_rows(experiment, root), columns=columns)


def _rows(experiment: Experiment, root: Path) -> Iterator[dict[str, Any]]:
    files = ExperimentPaths(experiment.name)
    for cell in matrix.cells(experiment):
        names: dict[str, Any] = {"architecture": cell.architecture, "activation": cell.activation, "seed": cell.seed}
        full = _metrics(cell.paths(experiment), experiment, root)
        head = _metrics(files.head_only(**names), experiment, root)
        for metric in METRICS:
            yield names | {"metric": metric, "full": full.get(metric), "head": head.get(metric)}


def _metrics(files: CellPaths, experiment: Experiment, root: Path) -> dict[str, Any]:
    path = root / files.metrics(experiment.splits[0], "matched")
    return json.loads(path.read_text())["segm"] if path.exists() else {}


def agreement(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """How the order of the activations in ``head`` agrees with that in ``full``, in ``metric``.

    ``pairs``: pairs of activations of the same architecture and seed that have both figures and differ in both;
    ``alike``: those among them that both order alike, of which chance gives half; ``correlation``: Spearman's rank
    correlation of the differences within the pairs.
    """
    known = table[table["metric"] == metric].dropna(subset=["full", "head"])
    differences = pd.DataFrame(
        [
            {"full": first["full"] - second["full"], "head": first["head"] - second["head"]}
            for _, cells in known.groupby(["architecture", "seed"], sort=False)
            for first, second in combinations(cells.to_dict("records"), 2)
        ],
        columns=["full", "head"],
    )
    differences = differences[(differences["full"] != 0) & (differences["head"] != 0)]
    return {
        "pairs": len(differences),
        "alike": int((differences["full"] * differences["head"] > 0).sum()),
        "correlation": rank_correlation(differences["full"].to_numpy(), differences["head"].to_numpy())
        if len(differences) > 1
        else float("nan"),
    }


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
