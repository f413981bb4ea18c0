"""Weights that were trained elsewhere as those of a cell, which is then predicted and evaluated like any other."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mmengine.config import Config
from torch import Tensor, nn

from gumbel.detection.checkpoints import load_checkpoint, save_weights
from gumbel.detection.losses import classification_losses
from gumbel.detection.predict import build_model
from gumbel.jobs import manifest, status
from gumbel.jobs.files import atomic_path
from gumbel.paths import TrainingPaths

#: mmdet 2.x and 3.x give the layers of these detectors the same names: its 3.3.0 model zoo serves the files of 2.x. Not
#: weights of the model are what an older ``DetDataPreprocessor`` stored, 2.x's running averages (it puts the values
#: that count in the place of the weights), and what a loss counts.
_NOT_WEIGHTS = re.compile(r"^data_preprocessor\.|^ema_|\.loss_\w+\.")
#: Categories of the data sets that such detectors are usually trained on.
_DATASETS = {80: "COCO", 1203: "LVIS v1", 1230: "LVIS v0.5"}


def convert(checkpoint: Path, config_path: Path) -> None:
    """Take ``checkpoint``, of mmdet 2.x or 3.x, over as the weights of the cell with the configuration ``config_path``.

    Writes the files of a training: ``train/checkpoint.pth``; ``train/manifest.json``, which says where the weights come
    from and nothing of how they were trained; and ``train/history.parquet`` without rows.

    Raises:
        ValueError: the file needs more than tensors, or its weights are not those of the cell's model.
    """
    record = manifest.Record()
    paths = TrainingPaths(config_path.parent)
    weights, metadata = load_checkpoint(checkpoint)
    model = build_model(Config.fromfile(config_path))
    model.load_state_dict(fit(weights, model, checkpoint), strict=False)
    with atomic_path(paths.history) as temporary:
        pd.DataFrame({"iteration": [], "loss": [], "seconds": []}).to_parquet(temporary, index=False)
    record.write(
        paths.manifest,
        converted_from={"path": str(checkpoint), "sha256": manifest.sha256(checkpoint), **_told(metadata)},
        config_sha256=manifest.sha256(config_path),
        loss_cls=[repr(loss) for loss in classification_losses(model)],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
    save_weights(model, paths.checkpoint)
    status.write(paths.status, status.Status(state="done"))


def fit(weights: Mapping[str, Tensor], model: nn.Module, source: Path) -> dict[str, Tensor]:
    """The entries of ``weights`` under the names of ``model``: all of its own but what losses count, and no others.

    Raises:
        ValueError: another framework version, other categories, another architecture or other widths.
    """
    expected = {name: tensor for name, tensor in model.state_dict().items() if not _NOT_WEIGHTS.search(name)}
    given = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    given = {name: tensor for name, tensor in given.items() if not _NOT_WEIGHTS.search(name)}
    if any(name.startswith("bbox_head.") for name in given):
        raise ValueError(
            f"expected a two-stage detector of mmdet 2.x or 3.x in {source}, found the layout of a single-stage "
            "detector or of mmdet 1.x, whose first class is the background; upgrade it with mmdet's "
            "upgrade_model_version.py"
        )
    both = [name for name in expected if name in given]
    for name in both:
        if name.endswith(".fc_cls.weight") and (rows := len(given[name])) != (own := len(expected[name])):
            raise ValueError(
                f"expected {own} outputs of {name.removesuffix('.weight')} ({own - 1} categories and the background), "
                f"found {rows}{_as_dataset(rows)} in {source}; give weights trained on the experiment's categories"
            )
    problems = {
        "lacks": sorted(expected.keys() - given.keys()),
        "has besides": sorted(given.keys() - expected.keys()),
        "has in another shape": sorted(name for name in both if expected[name].shape != given[name].shape),
    }
    if found := "; ".join(f"it {words} {_some(names)}" for words, names in problems.items() if names):
        raise ValueError(
            f"expected the {len(expected)} entries of the cell's model in {source}, found others: {found}. "
            "Give a checkpoint of the cell's architecture and widths"
        )
    return given


def _as_dataset(rows: int) -> str:
    """Which data set such a classifier was trained on; without a background it has a row less."""
    return next((f" (those of {name})" for classes, name in _DATASETS.items() if rows in (classes, classes + 1)), "")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _told(metadata: Any) -> dict[str, Any]:
    """What mmdet wrote of itself and of the training's length."""
    told = metadata if isinstance(metadata, Mapping) else {}
    keys = ("mmdet_version", "mmengine_version", "epoch", "iter")
    return {key: told[key] for key in keys if isinstance(told.get(key), str | int)}
