"""The parts of a detector, built or as configured: a value, or one a stage."""

from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: Any) -> Any:
    """The detector itself, also where mmengine wrapped it for several processes."""
    return model.module if is_model_wrapper(model) else model


def as_list(value: Any) -> list[Any]:
    """What mmdet holds as one value, or as one of each stage of a cascade."""
    return list(value) if isinstance(value, list | tuple | nn.ModuleList) else [value]


def box_heads(model: Any) -> list[Any]:
    """The box head of Mask R-CNN, or the one of each stage of a cascade."""
    return as_list(model.roi_head.bbox_head)


def mask_heads(model: Any) -> list[Any]:
    """The mask head, or the one of each stage."""
    return as_list(model.roi_head.mask_head)


def roi_extractors(model: Any) -> list[Any]:
    """What pools the features of a RoI, for boxes and for masks."""
    return [*as_list(model.roi_head.bbox_roi_extractor), *as_list(model.roi_head.mask_roi_extractor)]


def samplers(model: ConfigDict) -> list[ConfigDict]:
    """What samples the RoIs of a training image."""
    return [stage.sampler for stage in as_list(model.train_cfg.rcnn)]


def train_dataset(config: Config) -> ConfigDict:
    """The images that a training reads, without what repeats them."""
    dataset = config.train_dataloader.dataset
    return dataset.dataset if dataset.type == "ClassBalancedDataset" else dataset


def check_categories(model: Any, dataset: Any) -> None:
    """Refuse data whose categories are not as many as the model tells apart.

    Raises:
        ValueError: both numbers, and the annotations.
    """
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    expected, found = box_heads(model)[0].num_classes, len(dataset.cat_ids)
    if found != expected:
        raise ValueError(
            f"expected {expected} categories, as the configuration says, found {found} in {dataset.ann_file}; write "
            "the configuration anew, or bring back its data"
        )
