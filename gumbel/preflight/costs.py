"""What a training will cost: measured by a trial, or estimated from what is published of another one."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
import yaml
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from gumbel.detection.parts import box_heads, mask_heads, samplers
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS
from gumbel.preflight.measure import image_size
from gumbel.preflight.trial import Trial
from gumbel.section import Section

FILE = CONFIGS / "paper" / "costs.yaml"
#: A backward pass costs twice its forward pass.
PASSES = 3


class Published(Section):
    """A training that somebody ran and wrote down, in SI units; ``counted``: what :func:`count` says of it."""

    architecture: str
    precision: str
    gpu: str
    gpus: int
    images_per_gpu: int
    iterations_per_epoch: int
    epochs: int
    seconds_per_iteration: float
    memory_bytes: float
    counted_flops: float
    counted_memory_bytes: float
    source: str
    certainty: str

    @property
    def gpu_hours(self) -> float:
        return self.iterations_per_epoch * self.epochs * self.seconds_per_iteration * self.gpus / 3600

    @property
    def sustained(self) -> float:
        """Floating-point operations a second of one GPU."""
        return PASSES * self.counted_flops * self.images_per_gpu / self.seconds_per_iteration

    @property
    def memory_factor(self) -> float:
        """What a GPU needs, as a multiple of what is counted."""
        return self.memory_bytes / self.counted_memory_bytes


@cache
def published() -> Published:
    """The training that estimates rest on."""
    return Published.model_validate(yaml.safe_load(FILE.read_text())["published"])


@dataclass(frozen=True)
class Cost:
    """What a training of a cell takes: counted, but for seconds and memory, which are measured or estimated."""

    cell: str
    iterations: int
    images: int
    gpus: int
    parameters: int
    flops: float  #: of a forward pass of one image
    activation_bytes: float  #: kept for the backward pass of one image
    memory_bytes: float  #: of a GPU, at its peak
    seconds: float  #: of one GPU
    measured: bool  #: seconds, by a trial of the cell's architecture and mode


def cost(experiment: Experiment, cell: matrix.Cell, config: Config, model: Any, trial: Trial | None) -> Cost:
    """What the training of ``cell`` takes: as ``trial`` says, or estimated. Leaves ``model`` without data."""
    parameters = sum(value.numel() for value in model.parameters())
    flops, kept = count(model, config)
    loaded = config.train_dataloader.batch_size
    iterations = config.train_cfg.max_iters
    images = iterations * loaded * experiment.gpus
    training = experiment.training_of(cell.architecture, cell.activation)
    half = 0.5 if training.precision in ("fp16", "bf16") else 1.0
    row = trial.row(cell.architecture, training) if trial else None
    step = row.nearest(loaded) if row else None
    # Weights, gradients and momentum, then what the backward pass needs
    memory = published().memory_factor * (3 * 4 * parameters + loaded * kept * half)
    return Cost(
        cell=str(cell),
        iterations=iterations,
        images=images,
        gpus=experiment.gpus,
        parameters=parameters,
        flops=flops,
        activation_bytes=kept * half,
        memory_bytes=step.memory_bytes if step and step.images == loaded and step.memory_bytes else memory,
        seconds=images * (step.seconds / step.images if step else PASSES * flops / published().sustained),
        measured=step is not None,
    )


def calibrated(costs: list[Cost]) -> list[Cost]:
    """``costs`` with the estimated seconds at the speed of those that were measured, if any was."""
    speeds = [PASSES * each.flops * each.images / each.seconds for each in costs if each.measured]
    if not speeds:
        return costs
    speed = float(np.median(speeds))
    return [
        each if each.measured else replace(each, seconds=PASSES * each.flops * each.images / speed) for each in costs
    ]


def table(costs: list[Cost], seeds: int, trial: Trial | None) -> str:
    """Iterations, GPU-hours and memory of every cell, their sum, and the time that N GPUs need for it."""
    lines = [
        f"{'cell':<34} {'iterations':>10} {'GFLOP/image':>12} {'parameters':>11} {'GPU memory':>11} {'GPU-hours':>10}"
    ]
    for each in costs:
        lines.append(
            f"{each.cell:<34} {each.iterations:>10,} {each.flops / 1e9:>12,.1f} {each.parameters / 1e6:>9,.1f} M"
            f" {each.memory_bytes / 1e9:>8,.1f} GB {each.seconds / 3600:>10,.2f}"
            f"  {'measured' if each.measured else 'estimated'}"
        )
    total = seeds * sum(each.seconds for each in costs) / 3600
    trainings = f"{len(costs)} trainings" + (f" x {seeds} seeds" if seeds > 1 else "")
    lines.append(f"{trainings}: {total:,.2f} GPU-hours")
    longest = max((each.seconds / each.gpus for each in costs), default=0.0) / 3600
    walls = ", ".join(f"{number} GPUs {max(total / number, longest):,.1f} h" for number in (1, 4, 8, 16))
    lines.append(f"wall time at best, predictions aside: {walls}")
    if any(each.measured for each in costs) and trial:
        lines.append(
            f"measured: steps on noise images, {trial.device}; estimated: as many operations a second as these"
        )
    elif costs:
        known = published()
        lines.append(
            f"estimated: {known.sustained / 1e12:.1f} TFLOP/s, as {known.architecture} sustained on {known.gpu} "
            f"({known.seconds_per_iteration:g} s an iteration of {known.images_per_gpu} images, {known.gpu_hours:.0f} "
            "GPU-hours; configs/paper/costs.yaml); `python -m gumbel trial` on a GPU measures"
        )
    return "\n".join(lines)


def count(model: Any, config: Config) -> tuple[float, float]:
    """FLOPs of a forward pass of one image, and bytes kept for its backward pass; computed on no data at all.

    The heads see as many RoIs as are sampled, the mask heads a quarter of them, as the sampler allows at most.
    """
    model = model.to("meta")
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        pyramid = model.neck(model.backbone(torch.empty(1, 3, *image_size(config), device="meta")))
        model.rpn_head(pyramid)
        channels = config.model.neck.out_channels
        masks = mask_heads(model)
        for number, (head, sampler) in enumerate(zip(box_heads(model), samplers(config.model), strict=True)):
            rois = sampler.num
            head(torch.empty(rois, channels, 7, 7, device="meta", requires_grad=True))
            if number < len(masks):
                masks[number](torch.empty(rois // 4, channels, 14, 14, device="meta", requires_grad=True))
    return float(counter.get_total_flops()), float(sum(kept.values()))
