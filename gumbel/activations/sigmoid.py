"""Sigmoid: 1 / (1 + exp(-q))."""

import math

import torch
from torch.nn import functional as F

from gumbel.activations import Activation
from gumbel.activations._binary import binary_loss
from gumbel.functional import widen

ACTIVATION = Activation(
    name="sigmoid",
    label="Sigmoid",
    source="the logistic function; per-class binary cross-entropy",
    loss=binary_loss(lambda q, y: F.binary_cross_entropy_with_logits(widen(q), y, reduction="none")),
    scores=torch.sigmoid,
    log_scores=F.logsigmoid,
    bias=lambda prior, outputs: math.log(prior) - math.log1p(-prior),
)
