"""Options of a training beside its recipe: how the batch is made, memory format, what mask heads compute."""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from gumbel.detection import precision
from gumbel.detection.losses import classification_losses
from gumbel.detection.masks import ask_own_classes
from gumbel.detection.parts import box_heads, mask_heads, unwrapped


def keep_channels_last(model: Any) -> None:
    """Keep the weights of ``model`` in the channels-last format; its convolutions then work in it.

    mmcv's operators take the memory of any features for NCHW (2.1.0, ``roi_align.cpp``, ``roi_align_cuda.cu``), and
    would pool other values without a word. They get them as NCHW.
    """
    model.to(memory_format=torch.channels_last)
    for module in model.modules():
        if type(module).__module__.startswith("mmcv.ops."):
            module.to(memory_format=torch.contiguous_format)
            module.register_forward_pre_hook(lambda _, given: tuple(each.contiguous() for each in given))


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Train in the channels-last format."""

    def before_train(self, runner: Any) -> None:
        keep_channels_last(runner.model)


@HOOKS.register_module()
class OwnClassMasksHook(Hook):
    """Let mask heads compute the class of each object alone, out of which mmdet's make the loss."""

    def before_train(self, runner: Any) -> None:
        ask_own_classes(unwrapped(runner.model))


def check_launch(config: Config, world_size: int) -> None:
    """Refuse a launch that cannot train what the configuration says.

    Raises:
        ValueError: images per GPU x processes x accumulated loads is not ``config.batch``, or the device cannot compute
            in the training's precision.
    """
    images, loads = config.train_dataloader.batch_size, config.optim_wrapper.accumulative_counts
    if images * world_size * loads != config.batch:
        raise ValueError(
            f"expected {config.batch} images a step = {images} a GPU x {config.batch // (images * loads)} processes x "
            f"{loads} accumulated loads; found {world_size} processes. Launch as many processes, or set `gpus: "
            f"{world_size}` in the experiment and write the configurations anew: the learning rate is the batch's"
        )
    precision.check_device(config.precision)


def resolved(runner: Any) -> dict[str, Any]:
    """Facts of a run, read from the objects that ran, for its manifest."""
    wrapper, loader, model = runner.optim_wrapper, runner.train_dataloader, unwrapped(runner.model)
    parameters = list(model.parameters())
    group, device, loads = wrapper.optimizer.param_groups[0], parameters[0].device, wrapper._accumulative_counts
    channels_last = [
        parameter.is_contiguous(memory_format=torch.channels_last)
        for parameter in parameters
        if parameter.ndim == 4 and min(parameter.shape[1:]) > 1
    ]
    return {
        "seed": runner.seed,
        "iterations": runner.max_iters,
        "batch_size": loader.batch_size * runner.world_size * loads,
        "world_size": runner.world_size,
        "images": len(loader.dataset),
        "optimizer": type(wrapper.optimizer).__name__,
        "learning_rate": group.get("initial_lr", group["lr"]),
        "loss_cls": [repr(loss) for loss in classification_losses(model)],
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "steps": runner.max_iters // loads,
        "images_per_gpu": loader.batch_size,
        "accumulation": loads,
        **precision.resolved(runner),
        "oversample": getattr(loader.dataset, "oversample_thr", 0.0),
        "initialisation": [dict(entry) for entry in box_heads(model)[0].init_cfg],
        "channels_last": bool(channels_last) and all(channels_last),
        "own_class_masks": all("_conv_forward" in vars(head.conv_logits) for head in mask_heads(model)),
        "compiled": bool(runner.cfg.get("compile", False)),
    }
