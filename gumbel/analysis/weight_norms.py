"""Norms of the classification layer's weights per class, the paper's evidence for balanced classifiers."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import torch

from gumbel.datasets.entries import read_annotations
from gumbel.detection.checkpoints import load_weights

_CATEGORY = ("id", "name", "frequency", "image_count")
#: Mask R-CNN has one box head; Cascade and HTC number theirs by stage.
_CLASSIFIER = re.compile(r"(?:^|\.)bbox_head\.(?:(\d+)\.)?fc_cls\.weight$")


def weight_norms(checkpoint: Path, annotations: Path) -> pd.DataFrame:
    """L2 norm of each class's weight vector over the input features, and its bias, for every stage.

    ``checkpoint`` is any mmdet 2.x or 3.x checkpoint with a linear ``fc_cls``, a state dict or a dict that holds one
    under ``state_dict``; it is loaded without running pickled code. ``annotations`` is the training set's LVIS v1
    file: its categories, in the order of the file as mmdet numbers its labels, name the rows, and its
    ``image_count`` the images a class was trained on. Last rows for background and object are left out.

    Columns: stage, category_id, name, frequency, image_count, norm, bias. Raises ValueError if the
    checkpoint has no such layer or another number of classes.
    """
    categories = read_categories(annotations)
    state = load_weights(Path(checkpoint))
    layers = {name: match for name in state if (match := _CLASSIFIER.search(name))}
    if not layers:
        raise ValueError(
            f"expected a layer bbox_head.fc_cls or bbox_head.<stage>.fc_cls, found none among {len(state)} "
            f"entries of {checkpoint}: give the checkpoint of a trained two-stage detector"
        )
    if len({match[1] for match in layers.values()}) < len(layers):
        raise ValueError(
            f"expected one classifier per stage, found {sorted(layers)} in {checkpoint}: give a single model's"
        )
    stages = sorted((int(match[1] or 0), name) for name, match in layers.items())
    return pd.concat([_stage(*stage, state, categories, checkpoint) for stage in stages], ignore_index=True)


def _stage(
    stage: int, name: str, state: Mapping[str, torch.Tensor], categories: list[dict[str, Any]], checkpoint: Path
) -> pd.DataFrame:
    weight = state[name].double()
    rows = len(categories)
    if weight.ndim != 2 or len(weight) not in (rows, rows + 1, rows + 2):
        raise ValueError(
            f"expected {rows + 1} rows ({rows} categories and the background), one more or less, in {name}, found "
            f"shape {tuple(weight.shape)} in {checkpoint}: give the annotations that it was trained on"
        )
    bias = state.get(name.removesuffix("weight") + "bias")
    table = pd.DataFrame(categories, columns=list(_CATEGORY)).rename(columns={"id": "category_id"})
    table.insert(0, "stage", stage)
    table["norm"] = torch.linalg.vector_norm(weight, dim=1)[:rows].numpy()
    table["bias"] = np.full(rows, np.nan) if bias is None else bias.double()[:rows].numpy()
    return table


def read_categories(annotations: Path) -> list[dict[str, Any]]:
    """Categories of an LVIS v1 file in its order, each with id, name, frequency and image_count."""
    categories: list[dict[str, Any]] = read_annotations(Path(annotations), {"categories": _CATEGORY})["categories"]
    return categories


def norm_statistics(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """How balanced the norms of each stage are.

    coefficient_of_variation: standard deviation over mean; gini: 0 for equal norms, towards 1 for one
    dominating class; spearman: rank correlation of norm and training images; ratio_frequent_rare: mean norm
    of frequent over that of rare classes. NaN where undefined.
    """
    return {int(stage): _statistics(table[table["stage"] == stage]) for stage in table["stage"].unique()}


def _statistics(rows: pd.DataFrame) -> dict[str, float]:
    norm = rows["norm"].to_numpy()
    mean = rows.groupby("frequency")["norm"].mean()
    return {
        "coefficient_of_variation": float(norm.std() / norm.mean()) if norm.any() else float("nan"),
        "gini": gini(norm),
        "spearman": rank_correlation(norm, rows["image_count"].to_numpy()),
        "ratio_frequent_rare": float(mean.get("f", np.nan) / mean.get("r", np.nan)),
    }


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation of ``x`` (n,) and ``y`` (n,); NaN if either is constant."""
    varied = np.ptp(x) > 0 and np.ptp(y) > 0
    return float(scipy.stats.spearmanr(x, y).statistic) if varied else float("nan")


def gini(values: np.ndarray) -> float:
    """Gini coefficient of non-negative ``values`` (n,): mean absolute difference over twice the mean.

    >>> gini(np.array([1.0, 1.0])), gini(np.array([0.0, 1.0]))
    (0.0, 0.5)
    """
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    n, total = len(ranked), ranked.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ ranked / (n * total)) if total else float("nan")
