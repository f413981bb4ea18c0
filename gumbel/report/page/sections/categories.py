"""The table of all categories: AP and weight norm per activation, of every architecture."""

from typing import Any

import numpy as np
import pandas as pd

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CellPaths
from gumbel.report.page.results import PageSection, Results
from gumbel.words import FREQUENCIES, activation_name, fixed

KEYS = ["category_id", "name", "frequency", "image_count"]


class CategoryTable(PageSection):
    """Fixed columns of every category, and printed values per architecture in the same order; empty before evaluation.

    Values are the APs x 100 of the activations, the difference of the two ``compared``, and the norms. ``extremes``
    are the categories and models with the largest differences, after "gain" or "lose". ``frame``: as
    :func:`category_frame`.
    """

    title = "Categories"
    groups = FREQUENCIES

    def __init__(self, results: Results):
        self.frame, pair = category_frame(results.experiment), results.compared
        rows = self.frame[KEYS].drop_duplicates().sort_values("category_id")
        self.rows = rows.to_dict("records")
        self.values = {
            str(architecture): _values(part, rows["category_id"], results.experiment.activations, pair)
            for architecture, part in self.frame.groupby("architecture", sort=False)
        }
        self.compared = [activation_name(name) for name in pair or ()]
        self.extremes = winners_and_losers(differences(self.frame, pair)) if pair else []


def category_frame(experiment: Experiment) -> pd.DataFrame:
    """One row a category, architecture and activation that has been evaluated; seeds are averaged.

    Columns: :data:`KEYS`, architecture, activation, AP (masks, first split, scored as trained; NaN where the split
    has no object of the category) and norm (of the last stage's classifier; NaN where it was not written).
    """
    parts = []
    for cell in matrix.cells(experiment):
        table = _of_cell(cell.paths(experiment), experiment.splits[0])
        parts.append(table.assign(architecture=cell.architecture, activation=cell.activation))
    frame = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return frame.groupby([*KEYS, "architecture", "activation"], as_index=False, sort=False)[["AP", "norm"]].mean()


def _of_cell(paths: CellPaths, split: str) -> pd.DataFrame:
    path = paths.per_category(split, "matched")
    if not path.exists():
        return pd.DataFrame(columns=[*KEYS, "AP", "norm"])
    table = pd.read_parquet(path).query("iou_type == 'segm'")[[*KEYS, "AP"]]
    if not paths.weight_norms.exists():
        return table.assign(norm=np.nan)
    norms = pd.read_parquet(paths.weight_norms)
    last = norms[norms["stage"] == norms["stage"].max()]
    return table.merge(last[["category_id", "norm"]], on="category_id", how="left")


def _values(
    part: pd.DataFrame, categories: pd.Series, names: list[str], pair: tuple[str, str] | None
) -> list[list[str]]:
    figures = pd.MultiIndex.from_product([["AP", "norm"], names])
    wide = _wide(part, ["category_id"], ["activation"]).reindex(index=categories, columns=figures)
    columns = [(100 * wide["AP", name], ".1f") for name in names]
    if pair:
        columns.append((100 * (wide["AP", pair[0]] - wide["AP", pair[1]]), "+.1f"))
    columns += [(wide["norm", name], ".2f") for name in names]
    return [list(row) for row in zip(*([fixed(v, form) for v in column] for column, form in columns), strict=True)]


def _wide(frame: pd.DataFrame, rows: list[str], columns: list[str]) -> Any:
    """Figures side by side; unlike pivot_table, an absent figure costs neither its row nor a product of all keys."""
    return frame.set_index([*rows, *columns])[["AP", "norm"]].unstack(columns)  # noqa: PD010


def differences(frame: pd.DataFrame, pair: tuple[str, str] | None) -> pd.DataFrame:
    """A row a category and architecture whose AP differs between the two compared activations, largest gain first.

    Columns: :data:`KEYS`, architecture, of, against and difference.
    """
    columns = [*KEYS, "architecture", "of", "against", "difference"]
    wide = frame.pivot_table(index=[*KEYS, "architecture"], columns="activation", values="AP")
    if pair is None or not set(pair) <= set(wide.columns):
        return pd.DataFrame(columns=columns)
    table = wide[list(pair)].dropna().set_axis(["of", "against"], axis="columns").reset_index()
    table = table.assign(difference=table["of"] - table["against"])
    return table[table["difference"] != 0].sort_values("difference", ascending=False, kind="stable")[columns]


def winners_and_losers(table: pd.DataFrame, number: int = 8) -> list[tuple[str, list[dict[str, Any]]]]:
    """The largest of :func:`differences`, after "gain" and "lose"."""
    extremes: dict[str, Any] = {"gain": table[table["difference"] > 0], "lose": table[table["difference"] < 0][::-1]}
    return [(verb, rows[:number].to_dict("records")) for verb, rows in extremes.items()]


def export_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a category, a column per figure, architecture and activation; AP x 100."""
    if frame.empty:
        return pd.DataFrame(columns=KEYS)
    table = frame.assign(AP=100 * frame["AP"])
    wide = _wide(table, KEYS, ["architecture", "activation"]).sort_index(level="category_id")
    wide.columns = [" ".join(column) for column in wide.columns]
    return wide.reset_index()
