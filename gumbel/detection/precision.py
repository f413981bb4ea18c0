"""How a training computes: in float32, with factors rounded to TF32, or in half precision under autocast."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from mmengine.runner import autocast
from torch import Tensor, nn

from gumbel.detection.parts import roi_extractors, unwrapped
from gumbel.experiment.schema import Training

#: Precisions in which GPUs may round the factors of float32 products to TF32, whose mantissa is longer than bfloat16's.
ROUNDED = ("tf32", "bf16")


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Steps under autocast to bfloat16, on GPUs and CPUs.

    Its exponents are float32's, so that no loss needs scaling; mmengine's ``AmpOptimWrapper`` scales, and refuses CPUs.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


@HOOKS.register_module()
class Bfloat16Hook(Hook):
    """Keep boxes in float32, as :func:`keep_boxes` says, before the training begins."""

    def before_train(self, runner: Any) -> None:
        keep_boxes(unwrapped(runner.model))


def keep_boxes(model: Any) -> None:
    """Let the RPN return float32, and RoI extractors pool in it, under autocast to bfloat16.

    mmcv 2.1.0 has no kernels of NMS and RoIAlign for bfloat16, and mmdet would round boxes to the features' type: a
    coordinate of 1000 pixels by up to 2.
    """
    model.rpn_head.register_forward_hook(_float32)
    for extractor in roi_extractors(model):
        extractor.register_forward_pre_hook(_widen)
        extractor.register_forward_hook(_narrow)


def _float32(_: nn.Module, __: tuple[Any, ...], output: tuple[list[Tensor], ...]) -> tuple[list[Tensor], ...]:
    return tuple([level.float() for level in levels] for levels in output)


def _widen(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    features, *others = inputs
    return (tuple(level.float() for level in features), *others)


def _narrow(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
    device = output.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return output.to(torch.bfloat16) if half else output


def use_precision(optim_wrapper: ConfigDict, training: Training) -> None:
    """Make the optimiser's configuration that of the training's precision; float32's is left as it is."""
    if training.precision == "fp16":
        optim_wrapper.update(type="AmpOptimWrapper", dtype="float16", loss_scale=training.loss_scale)
    elif training.precision == "bf16":
        optim_wrapper.update(type="Bfloat16OptimWrapper")


def set_float32(precision: str) -> None:
    """Say for every product of float32 whether GPUs may round its factors to TF32.

    Left to PyTorch, GPUs since Ampere round in convolutions and not in products of matrices.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision in ROUNDED


def check_device(precision: str) -> None:
    """Refuse a device that cannot compute in ``precision``; bf16 also works on a CPU.

    Raises:
        ValueError: no GPU for fp16 or tf32, or one older than Ampere for bf16 or tf32.
    """
    remedy = "set the `precision` of this cell to fp32 (`training` and `cells` of the experiment)"
    if not torch.cuda.is_available():
        if precision in ("fp16", "tf32"):
            raise ValueError(f"expected a GPU for {precision}, found none; train on one, or {remedy}")
    elif precision in ROUNDED and torch.cuda.get_device_capability() < (8, 0):
        raise ValueError(
            f"expected a GPU of compute capability 8.0 (Ampere) or newer for {precision}, found "
            f"{torch.cuda.get_device_name()}; train on another, or {remedy}"
        )


def resolved(runner: Any) -> dict[str, Any]:
    """What the precision of a run was, read from its objects and from PyTorch's settings."""
    wrapper = runner.optim_wrapper
    scaled = isinstance(wrapper, AmpOptimWrapper)
    tf32 = {"matrices": torch.backends.cuda.matmul.allow_tf32, "convolutions": torch.backends.cudnn.allow_tf32}
    half = "fp16" if scaled else "bf16" if isinstance(wrapper, Bfloat16OptimWrapper) else None
    return {
        "precision": half or ("tf32" if all(tf32.values()) else "fp32"),
        "tf32": tf32,
        "loss_scale": wrapper.loss_scaler.get_scale() if scaled else None,
    }
