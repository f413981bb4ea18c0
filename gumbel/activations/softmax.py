"""Softmax: exp(q) over the sum of exp(q), so that the classes compete."""

from torch import Tensor
from torch.nn import functional as F

from gumbel.activations import Activation
from gumbel.functional import check_target, reduce_loss, widen


def loss(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: str = "mean",
    avg_factor: float | Tensor | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Cross-entropy of logits (N, C) and class indices (N,), with one weight a sample."""
    ignore_index = -100 if ignore_index is None else ignore_index  # PyTorch's default
    losses = F.cross_entropy(widen(logits), check_target(logits, target), reduction="none", ignore_index=ignore_index)
    return reduce_loss(losses if weight is None else losses * weight, reduction, avg_factor)


ACTIVATION = Activation(
    name="softmax",
    label="Softmax",
    source="the multinomial logit; categorical cross-entropy",
    loss=loss,
    scores=lambda logits: logits.softmax(-1),
    log_scores=lambda logits: logits.log_softmax(-1),
    bias=lambda prior, outputs: 0.0,  # only differences of logits matter: every class starts from 1 / outputs
    competing=True,
    mmdet=lambda classes, options: dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    mmdet_default=True,
)
