"""Seesaw: categories compete by softmax, apart from whether there is an object; frequent ones are held back.

mmdet's ``SeesawLoss`` counts the samples of each category, which is a state: it is stored with the weights. Each
process counts its own; after an interruption all go on from the first one's.
"""

import math

import torch
from torch import Tensor

from gumbel.activations import Activation


def log_scores(logits: Tensor) -> Tensor:
    """Logits (..., C + 2), the last two of object and background, to log-scores (..., C + 1)."""
    categories, objectness = logits[..., :-2].log_softmax(-1), logits[..., -2:].log_softmax(-1)
    return torch.cat([categories + objectness[..., :1], objectness[..., 1:]], dim=-1)


ACTIVATION = Activation(
    name="seesaw",
    label="Seesaw",
    source="Wang et al., CVPR 2021, https://arxiv.org/abs/2008.10032",
    scores=lambda logits: log_scores(logits).exp(),
    log_scores=log_scores,
    bias=lambda prior, outputs: 0.0,  # only differences of logits matter
    competing=True,
    outputs=lambda classes: classes + 2,
    mmdet=lambda classes, options: dict(
        type="SeesawLoss", p=0.8, q=2.0, num_classes=classes, loss_weight=1.0, return_dict=False
    ),
    # One of C categories, and one of two for the object
    cost_at_start=lambda logit, outputs: math.log(outputs - 2) + math.log(2),
)
