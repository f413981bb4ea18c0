"""The family (λ exp(-q) + 1)^(-1/λ): sigmoid at λ = 1, Gumbel in the limit λ → 0."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gumbel.activations import Activation
from gumbel.activations._binary import binary_loss
from gumbel.functional import widen


def parametric(name: str, label: str, shape: float) -> Activation:
    """The member of the family with λ = ``shape`` > 0."""
    offset = math.log(shape)

    def log_scores(logits: Tensor) -> Tensor:
        return F.logsigmoid(widen(logits) - offset) / shape

    def losses(logits: Tensor, target: Tensor) -> Tensor:
        # From 80 on the loss of a negative is the logit itself; the log-score would underflow to 0.
        negative = -_log1mexp(-log_scores(logits.clamp(max=80))) + (widen(logits) - 80).clamp(min=0)
        return -target * log_scores(logits) + (1 - target) * negative

    return Activation(
        name=name,
        label=label,
        source=f"adaptive parametric activation with λ = {shape:g}, Alexandridis et al., ECCV 2024, https://arxiv.org/abs/2407.08567",
        loss=binary_loss(losses),
        scores=lambda logits: log_scores(logits).exp().to(logits.dtype),
        log_scores=log_scores,
        bias=lambda prior, outputs: offset - math.log(math.expm1(-shape * math.log(prior))),
    )


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) of x > 0 without cancellation (Mächler 2012)."""
    near = x < math.log(2)
    return torch.where(
        near, torch.log(-torch.expm1(-x.clamp(max=1))), torch.log1p(-torch.exp(-torch.where(near, 1.0, x)))
    )


#: Halfway between Gumbel and sigmoid.
ACTIVATION = parametric("parametric", label="Parametric, λ = ½", shape=0.5)
