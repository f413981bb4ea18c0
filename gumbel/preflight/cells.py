"""Every cell's model, built at full width and taken one step, and what a training of it will cost."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

from gumbel import activations
from gumbel.detection.compose import cell_config
from gumbel.detection.losses import DropLoss
from gumbel.detection.parts import box_heads, mask_heads, samplers, train_dataset
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.preflight.checks import Check

#: Floating-point operations a second that training sustains, unless a trial on this machine's GPU says otherwise:
#: what 0.18 s an image of Mask R-CNN R50 on a V100 amount to (mmdet's model zoo, docs/how-to/cluster.md).
SUSTAINED = 9e12
#: A backward pass costs twice its forward pass.
PASSES = 3
#: Side of the noise image of the one step.
SIDE = 64


@dataclass(frozen=True)
class Cost:
    """What a training of a cell takes: counted, but for seconds and memory, which are estimated from the counts."""

    cell: str
    iterations: int
    images: int
    gpus: int
    parameters: int
    flops: float  #: of a forward pass of one image
    activation_bytes: float  #: kept for the backward pass of one image
    memory_bytes: float  #: of a GPU, at its peak
    seconds: float  #: of one GPU


@dataclass(frozen=True)
class Trial:
    """Training steps on this machine's GPU: seconds of one, its FLOPs (forward), and the memory at the peak."""

    device: str
    steps: int
    seconds: float
    flops: float
    memory_bytes: float


def examine(experiment: Experiment, cell: matrix.Cell, sustained: float) -> tuple[list[Check], Cost]:
    """Build the model of ``cell`` on the CPU, take one step, and count what it computes."""
    init_default_scope("mmdet")
    config = cell_config(experiment, cell.architecture, cell.activation, cell.seed)
    model = build(config)
    start = list(_start(model, cell))  # before a step, which some losses count
    checks = [*_step(model, config, cell), *start, _batch(experiment, config, cell)]
    return checks, _cost(experiment, cell, config, model, sustained)


def build(config: Config) -> Any:
    """The model with fresh weights: what a pretrained backbone holds changes no check."""
    MMLogger.get_current_instance().setLevel("WARNING")  # it would list every parameter that is initialised
    settings = config.model.copy()
    settings.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(settings)
    model.init_weights()
    return model.train()


def noise(side: tuple[int, int], num_classes: int, images: int = 1) -> dict[str, Any]:
    """A batch of noise images of this height and width, with two objects each."""
    height, width = side
    samples = []
    for _ in range(images):
        boxes = np.array([[0.06, 0.06, 0.6, 0.6], [0.45, 0.3, 0.95, 0.95]]) * [width, height, width, height]
        masks = np.zeros((2, height, width), dtype=np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample(metainfo=dict(img_shape=side, ori_shape=side, scale_factor=(1.0, 1.0)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor([0, num_classes - 1]),
            masks=BitmapMasks(masks, height, width),
        )
        samples.append(sample)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator) for _ in samples]
    return dict(inputs=inputs, data_samples=samples)


def _step(model: Any, config: Config, cell: matrix.Cell) -> Iterator[Check]:
    """One forward and backward pass: a finite loss, and gradients where they are expected and nowhere else."""
    heads = box_heads(model)
    batch = model.data_preprocessor(noise((SIDE, SIDE), heads[0].num_classes), training=True)
    total, _ = model.parse_losses(model(**batch, mode="loss"))
    total.backward()
    finite = bool(torch.isfinite(total))
    yield Check(f"{cell} one step", finite, f"loss {total.item():.2f}", "look at the configuration's losses")
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    expected = {name for name, _ in model.named_parameters() if name.startswith(tuple(_frozen(config)))}
    without = {name for name, value in model.named_parameters() if value.requires_grad and value.grad is None}
    wrong = sorted((frozen ^ expected) | without)
    yield Check(
        f"{cell} gradients",
        not wrong,
        f"missing or unexpected: {', '.join(wrong[:5])}"
        if wrong
        else f"everywhere but in {len(frozen)} frozen tensors",
        "processes that train together wait for every gradient: freeze these, or find why they are not used",
    )


def _frozen(config: Config) -> list[str]:
    """First parts of the names that the configuration freezes: stages of the backbone."""
    stages = config.model.backbone.frozen_stages
    first = ["backbone.conv1.", "backbone.bn1."] if stages >= 0 else []
    return first + [f"backbone.layer{stage}." for stage in range(1, stages + 1)]


def _start(model: Any, cell: matrix.Cell) -> Iterator[Check]:
    """The classification loss that the bias alone gives, and how its logits are scored, against closed forms."""
    activation = activations.get(cell.activation)
    problems, found = [], []
    for head in box_heads(model):
        bias = head.fc_cls.bias.detach()
        logits, label = bias.expand(1, -1), torch.zeros(1, dtype=torch.long)
        loss = float(head.loss_cls(logits, label, torch.ones(1), avg_factor=1.0))
        expected = _loss_at_start(head, activation, logits)
        found.append(f"{loss:.2f}")
        if not math.isclose(loss, expected, rel_tol=1e-3):
            problems.append(f"loss {loss:.4f} instead of {expected:.4f}")
        # Not only the start: logits that differ tell activations apart
        probe = torch.linspace(-3, 3, len(bias)).expand(1, -1)
        scores = head.loss_cls.get_activation(probe) if head.custom_activation else probe.softmax(-1)
        expected_scores = activation.scores(probe)
        if not torch.allclose(scores[:, : expected_scores.shape[1]], expected_scores, rtol=1e-4):
            problems.append(f"not scored by {activation.name}")
    words = "; ".join(problems) or f"loss {', '.join(found)} at the start, scored by {activation.name}"
    remedy = "look at classifier.bias and at the loss's custom_activation (docs/how-to/add-an-activation.md)"
    yield Check(f"{cell} activation", not problems, words, remedy)


def _loss_at_start(head: Any, activation: activations.Activation, logits: torch.Tensor) -> float:
    """Loss of equal logits with one positive, in closed form."""
    outputs = logits.shape[1]
    if isinstance(head.loss_cls, DropLoss):  # of an object, infrequent categories keep no negative
        outputs -= int(head.loss_cls.infrequent.sum()) - int(head.loss_cls.infrequent[0])
    return activation.start(logits[0, 0].item(), outputs)


def _batch(experiment: Experiment, config: Config, cell: matrix.Cell) -> Check:
    accumulated = config.optim_wrapper.accumulative_counts
    loaded = config.train_dataloader.batch_size
    images = loaded * experiment.gpus * accumulated
    return Check(
        f"{cell} batch",
        images == experiment.batch,
        f"{loaded} images x {experiment.gpus} GPUs x {accumulated} loads = {images}, "
        f"learning rate {config.optim_wrapper.optimizer.lr:g}",
        "let images_per_gpu x gpus divide batch",
    )


def _cost(experiment: Experiment, cell: matrix.Cell, config: Config, model: Any, sustained: float) -> Cost:
    parameters = sum(value.numel() for value in model.parameters())
    flops, kept = _count(model, config)
    loaded = config.train_dataloader.batch_size
    iterations = config.train_cfg.max_iters
    images = iterations * loaded * experiment.gpus
    half = 0.5 if config.optim_wrapper.type == "AmpOptimWrapper" else 1.0
    return Cost(
        cell=str(cell),
        iterations=iterations,
        images=images,
        gpus=experiment.gpus,
        parameters=parameters,
        flops=flops,
        activation_bytes=kept * half,
        # Weights, gradients and momentum, then what the backward pass needs
        memory_bytes=3 * 4 * parameters + loaded * kept * half,
        seconds=images * PASSES * flops / sustained,
    )


def image_size(config: Config) -> tuple[int, int]:
    """Height and width of the largest training image, padded as the model pads it."""
    side = next((step.scales[-1] for step in train_dataset(config).pipeline if "scales" in step), None)
    if side is None:
        side = next((step.scale for step in train_dataset(config).pipeline if step.type == "Resize"), (128, 128))
    divisor = config.model.data_preprocessor.get("pad_size_divisor", 32)
    longer, shorter = (math.ceil(length / divisor) * divisor for length in (max(side), min(side)))
    return shorter, longer


def _count(model: Any, config: Config) -> tuple[float, float]:
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


def trial(experiment: Experiment, device: str, steps: int = 50) -> Trial:
    """Train the first cell on noise images of full size for ``steps`` steps; the first fifth is not timed."""
    init_default_scope("mmdet")
    first = matrix.cells(experiment)[0]
    config = cell_config(experiment, first.architecture, first.activation, first.seed)
    flops, _ = _count(build(config), config)
    model = build(config).to(device)
    settings = config.optim_wrapper.copy()
    optimiser = build_optim_wrapper(model, settings)
    loaded = config.train_dataloader.batch_size
    batch = noise(image_size(config), box_heads(model)[0].num_classes, loaded)
    taken = []
    for _ in range(steps):
        _wait(device)
        start = time.perf_counter()
        model.train_step(batch, optimiser)
        _wait(device)
        taken.append(time.perf_counter() - start)
    memory = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    return Trial(
        device=torch.cuda.get_device_name() if device == "cuda" else device,
        steps=steps,
        seconds=float(np.median(taken[steps // 5 :])),
        flops=flops * loaded,
        memory_bytes=float(memory),
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
