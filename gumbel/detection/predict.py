"""Predict a split with a trained cell and write the detections."""

from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from pycocotools import mask as coco_mask

from gumbel.detection.checkpoints import load_weights
from gumbel.detection.losses import classification_losses, score_as_mmdet
from gumbel.detection.precision import set_float32
from gumbel.evaluation.predictions import PredictionWriter
from gumbel.jobs import manifest


def predict(config_path: Path, checkpoint: Path, split: str, scoring: str, output: Path) -> None:
    """Write the detections of ``split`` to ``output`` (Parquet, one row a detection).

    Args:
        config_path: the resolved configuration of the cell.
        checkpoint: its trained weights.
        split: a key of the configuration's ``test_dataloaders``.
        scoring: ``matched`` scores with the activation that was trained; ``released`` with softmax,
            as mmdet does for a loss that does not say otherwise.

    Raises:
        ValueError: unknown split or scoring.
    """
    config = Config.fromfile(config_path)
    if split not in config.test_dataloaders:
        known = ", ".join(config.test_dataloaders)
        raise ValueError(f"expected a split of {config_path} ({known}), found {split!r}; add it to `splits`")
    if scoring not in ("matched", "released"):
        raise ValueError(f"expected scoring matched or released, found {scoring!r}")
    model = build_trained(config, checkpoint, scoring)
    loader = Runner.build_dataloader(config.test_dataloaders[split])
    category_ids = np.asarray(loader.dataset.cat_ids)
    metadata = {
        "config_sha256": manifest.sha256(config_path),
        "checkpoint_sha256": manifest.sha256(checkpoint),
        "annotations_sha256": manifest.sha256(Path(config.test_dataloaders[split].dataset.ann_file)),
        "scoring": scoring,
        "loss_cls": repr(classification_losses(model)[0]),
    }
    with PredictionWriter(output, metadata) as writer, torch.inference_mode():
        for batch in loader:
            for sample in model.test_step(batch):
                instances = sample.pred_instances.cpu().numpy()
                boxes = instances.bboxes.astype(np.float64)
                boxes[:, 2:] -= boxes[:, :2]
                masks = np.asfortranarray(instances.masks.transpose(1, 2, 0).astype(np.uint8))
                writer.write(
                    sample.img_id,
                    category_ids[instances.labels],
                    instances.scores.astype(np.float64),
                    boxes,
                    coco_mask.encode(masks),
                )


def build_trained(config: Config, checkpoint: Path, scoring: str) -> BaseModel:
    """The model of ``config`` with the weights of ``checkpoint``, ready to predict."""
    set_float32(config.get("precision", "fp32"))
    model = build_model(config)
    model.load_state_dict(load_weights(checkpoint))
    if scoring == "released":
        score_as_mmdet(model)
    return model.to(get_device()).eval()


def build_model(config: Config) -> BaseModel:
    """The model of ``config`` without weights: a checkpoint will bring all, those that a training starts from too."""
    init_default_scope("mmdet")
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)
