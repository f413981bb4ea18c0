"""Every cell's model, built at full width and taken one step."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from gumbel import activations
from gumbel.detection.compose import cell_config
from gumbel.detection.losses import DropLoss
from gumbel.detection.parts import box_heads
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.preflight.checks import Check
from gumbel.preflight.costs import Cost, cost
from gumbel.preflight.measure import build, noise
from gumbel.preflight.trial import Trial

#: Side of the noise image of the one step.
SIDE = 64


def examine(
    experiment: Experiment, cell: matrix.Cell, trial: Trial | None = None, device: str = "cpu"
) -> tuple[list[Check], Cost]:
    """Build the model of ``cell`` on ``device``, take one step, and count what it computes."""
    init_default_scope("mmdet")
    config = cell_config(experiment, cell.architecture, cell.activation, cell.seed)
    model = build(config).to(device)
    start = list(_start(model, cell))  # before a step, which some losses count
    checks = [*_step(model, config, cell), *start, _batch(experiment, config, cell)]
    return checks, cost(experiment, cell, config, model, trial)


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
    words = f"everywhere but in {len(frozen)} frozen tensors"
    if wrong:
        words = f"missing or unexpected: {', '.join(wrong[:5])}"
    remedy = "processes that train together wait for every gradient: freeze these, or find why they are not used"
    yield Check(f"{cell} gradients", not wrong, words, remedy)


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
        logits, label = bias.expand(1, -1), torch.zeros(1, dtype=torch.long, device=bias.device)
        loss = float(head.loss_cls(logits, label, torch.ones(1, device=bias.device), avg_factor=1.0))
        expected = _loss_at_start(head, activation, logits)
        found.append(f"{loss:.2f}")
        if not math.isclose(loss, expected, rel_tol=1e-3):
            problems.append(f"loss {loss:.4f} instead of {expected:.4f}")
        # Not only the start: logits that differ tell activations apart
        probe = torch.linspace(-3, 3, len(bias), device=bias.device).expand(1, -1)
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
