"""What activations with one binary problem per class share."""

from collections.abc import Callable

import torch
from torch import Tensor

from gumbel.functional import check_target, dense_target, reduce_loss, split_weight, widen


def binary_loss(elementwise: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A registry loss from ``elementwise(logits, target)``, which maps two tensors (..., C) to losses (..., C).

    That target is float32 at least, and so should the losses be. The registry loss takes class indices
    (...) or dense targets (..., C) and sums over the classes.
    """

    def loss(
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        avg_factor: float | Tensor | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        target = check_target(logits, target)
        per_sample, per_element = split_weight(logits, weight)
        ignored = torch.zeros_like(target, dtype=torch.bool) if ignore_index is None else target == ignore_index
        target = dense_target(widen(logits), target, ignored)
        mask = ignored if ignored.ndim == logits.ndim else ignored.unsqueeze(-1)
        losses = elementwise(logits.masked_fill(mask, 0), target.masked_fill(mask, 0)).masked_fill(mask, 0)
        losses = (losses if per_element is None else losses * per_element).sum(-1)
        return reduce_loss(losses if per_sample is None else losses * per_sample, reduction, avg_factor)

    return loss
