"""Gumbel: exp(-exp(-q)), the distribution function of the standard Gumbel distribution."""

import math

from gumbel.activations import Activation
from gumbel.functional import gumbel_activation, gumbel_cross_entropy, gumbel_log_activation

ACTIVATION = Activation(
    name="gumbel",
    label="Gumbel",
    source="Alexandridis et al., ECCV 2022, https://arxiv.org/abs/2207.10936",
    loss=gumbel_cross_entropy,
    scores=gumbel_activation,
    log_scores=gumbel_log_activation,
    bias=lambda prior, outputs: -math.log(-math.log(prior)),
    options={"variant": ("exact", "released")},
    note="the loss of the released code, with logits clamped to [−4, 10] and the loss to [0, 20]; its gradient is 0 "
    "outside",
)
