"""Mirrored Gumbel: 1 - exp(-exp(q)), the Gumbel activation with its asymmetry turned around.

The control of the paper's argument: if the direction of the asymmetry is what helps, this must not.
"""

import math

import torch
from torch import Tensor

from gumbel.activations import Activation
from gumbel.activations._binary import binary_loss
from gumbel.functional import gumbel_cross_entropy


def log_scores(logits: Tensor) -> Tensor:
    """Minus the Gumbel loss of a negative at the negated logits, float32 at least."""
    return -losses(logits, torch.ones_like(logits))


def losses(logits: Tensor, target: Tensor) -> Tensor:
    """Loss of each element: the Gumbel loss of the other target at the negated logit."""
    return gumbel_cross_entropy(-logits.unsqueeze(-1), 1 - target.unsqueeze(-1), reduction="none")


ACTIVATION = Activation(
    name="mirrored_gumbel",
    label="Mirrored Gumbel",
    source="the complementary log-log link: Fisher 1922; McCullagh and Nelder, Generalized Linear Models, 4.3",
    loss=binary_loss(losses),
    scores=lambda logits: log_scores(logits).exp().to(logits.dtype),
    log_scores=log_scores,
    bias=lambda prior, outputs: math.log(-math.log1p(-prior)),
)
