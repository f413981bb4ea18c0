"""Equalization loss v2: a sigmoid for each class, whose gradients are balanced by those that it has seen so far.

mmdet's ``EQLV2Loss`` adds up the gradients of each category, which is a state: it is stored with the weights.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from gumbel.activations import Activation, sigmoid


def log_scores(logits: Tensor) -> Tensor:
    """Log-sigmoids (..., C + 1); those of the categories times the chance that there is an object."""
    own, nothing_there = F.logsigmoid(logits), logits[..., -1:]
    return torch.cat([own[..., :-1] + F.logsigmoid(-nothing_there), own[..., -1:]], dim=-1)


ACTIVATION = Activation(
    name="eqlv2",
    label="EQLv2",
    source="Tan et al., CVPR 2021, https://arxiv.org/abs/2012.08548",
    scores=lambda logits: log_scores(logits).exp(),
    log_scores=log_scores,
    bias=sigmoid.ACTIVATION.bias,
    mmdet=lambda classes, options: dict(
        type="ActivationLoss", activation="eqlv2", module=dict(type="EQLV2Loss", num_classes=classes), loss_weight=1.0
    ),
    cost_at_start=sigmoid.ACTIVATION.start,  # the gradients of a class weigh 1 before any was seen
)
