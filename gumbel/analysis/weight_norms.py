"""Norms of the classification layer's weights per class, the paper's evidence for balanced classifiers."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import torch

from gumbel.datasets.entries import read_annotations
from gumbel.detection.checkpoints import load_weights
from gumbel.evaluation.bootstrap import Resamples

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


#: Least and largest value that each statistic can have.
RANGES = {
    "coefficient_of_variation": (0, np.inf),
    "gini": (0, 1),
    "spearman": (-1, 1),
    "ratio_frequent_rare": (0, np.inf),
}


def norm_statistics(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """How balanced the norms of each stage are.

    coefficient_of_variation: standard deviation over mean; gini: 0 for equal norms, towards 1 for one
    dominating class; spearman: rank correlation of norm and training images; ratio_frequent_rare: mean norm
    of frequent over that of rare classes. NaN where undefined.
    """
    return {
        stage: {name: float(value) for name, value in _statistics(*columns).items()}
        for stage, columns in _stages(table)
    }


def resampled_statistics(table: pd.DataFrame, replicates: int = 1000, seed: int = 0) -> dict[int, Resamples]:
    """The statistics of each stage with its categories redrawn, what intervals over categories are made of.

    Draws depend on the number of categories and ``seed`` alone: cells share them. The jackknife leaves out one
    category at a time.
    """
    found = {}
    for stage, columns in _stages(table):
        number = len(table) // table["stage"].nunique()
        drawn = np.random.default_rng(seed).integers(number, size=(replicates, number))
        others = np.nonzero(~np.eye(number, dtype=bool))[1].reshape(number, number - 1)
        point, bootstrap, jackknife = (
            _statistics(*(column[rows] for column in columns)) for rows in (np.arange(number)[None], drawn, others)
        )
        found[stage] = Resamples(point, bootstrap, jackknife, {}, table["category_id"].to_numpy()[:number], seed)
    return found


def _stages(table: pd.DataFrame) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """Norm, training images and frequency (K,) of each stage's categories."""
    for stage in table["stage"].unique():
        rows = table[table["stage"] == stage]
        yield int(stage), tuple(rows[name].to_numpy() for name in ("norm", "image_count", "frequency"))


def _statistics(norm: np.ndarray, images: np.ndarray, frequency: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics over the last axis of arrays (..., K)."""
    with np.errstate(invalid="ignore", divide="ignore"):  # undefined ones are NaN
        frequent, rare = (_mean(norm, frequency == group) for group in "fr")
        return {
            "coefficient_of_variation": norm.std(axis=-1) / norm.mean(axis=-1),
            "gini": gini(norm),
            "spearman": rank_correlation(norm, images),
            "ratio_frequent_rare": frequent / rare,
        }


def _mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return np.where(chosen, values, 0).sum(axis=-1) / chosen.sum(axis=-1)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of ``x`` and ``y`` (..., n) over the last axis; NaN where either is constant."""
    first, second = (scipy.stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2 for values in (x, y))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=-1) / np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))


def gini(values: np.ndarray) -> np.ndarray:
    """Gini coefficient of non-negative ``values`` (..., n): mean absolute difference over twice the mean.

    >>> gini(np.array([[1.0, 1.0], [0.0, 1.0]])).tolist()
    [0.0, 0.5]
    """
    ranked = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ranked.shape[-1]
    return ranked @ (2 * np.arange(1, n + 1) - n - 1.0) / (n * ranked.sum(axis=-1))
