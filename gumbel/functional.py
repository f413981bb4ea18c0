"""The Gumbel activation and its loss: pure torch, stable for every finite logit.

With u = exp(-q) for a logit q, the score is p = exp(-u): the distribution function of the standard Gumbel (maximum)
distribution, known in generalised linear models as the log-log link. A positive costs -log p = u with slope -u, a
negative -log(1 - p) = log1p(1 / expm1(u)) with slope u / expm1(u), between 0 and 1. Equations 1 to 3 of Alexandridis et
al., "Long-tailed Instance Segmentation using Gumbel Optimized Loss", ECCV 2022, https://arxiv.org/abs/2207.10936.

exp(-q) outgrows every float. Below q = -64 (float16: -11, float64: -600) it is continued along its tangent, so that the
loss of a positive and the log-score stay finite and strictly monotone, and their slope keeps the value of that point.
Half-precision logits are computed in float32, and losses and log-scores are returned in it.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Reduction = Literal["none", "mean", "sum"]
Variant = Literal["exact", "released"]

#: -q from where exp(-q) is continued along its tangent. The slope there is finite in the logits' dtype, and the
#: sum of 1e6 such losses at q = -1e4 is finite in the dtype that they are computed in.
_TANGENT = {torch.float16: 11.0, torch.bfloat16: 64.0, torch.float32: 64.0, torch.float64: 600.0}
#: q from where the loss of a negative is q to the last bit; and exp(-q) from where that loss counts as its value
#: there, of 1e-35 (float64: 1e-304): any less is a subnormal number, which takes processors a hundred times as long.
_LINEAR = {torch.float32: 80.0, torch.float64: 700.0}
#: q below which the loss of a negative, exp(-exp(-q)), is not followed any further towards 0.
_LEAST_NEGATIVE = {dtype: -math.log(limit) for dtype, limit in _LINEAR.items()}
#: Processors with AVX-512 compute tanh and log faster than expm1 and log1p, others do not (benchmarks/loss.py).
_TANH = "AVX512" in torch.backends.cpu.get_cpu_capability()
#: Elements that a CPU works on at a time, so that intermediate results stay in its cache, and how many such results.
_BLOCK, _BUFFERS = (1 << 16, 3) if _TANH else (1 << 17, 1)


def gumbel_activation(logits: Tensor) -> Tensor:
    """Score exp(-exp(-q)) of each logit q: same shape and dtype, in [0, 1] (equation 1).

    >>> gumbel_activation(torch.tensor([-2.0, 0.0, 2.0]))
    tensor([6.1798e-04, 3.6788e-01, 8.7342e-01])
    """
    return gumbel_log_activation(logits).exp().to(logits.dtype)


def gumbel_log_activation(logits: Tensor) -> Tensor:
    """Logarithm -exp(-q) of the score of each logit q: same shape, at least float32, never -inf.

    Detections ranked by it keep their order where the score itself underflows to 0 (q < -4.49 in float32).

    >>> gumbel_log_activation(torch.tensor([-6.0, -5.0, 0.0]))
    tensor([-403.4288, -148.4132,   -1.0000])
    """
    return -_positive(widen(logits), logits.dtype)[0]


def gumbel_cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: Reduction = "mean",
    variant: Variant = "exact",
    *,
    avg_factor: float | Tensor | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Binary cross-entropy of Gumbel scores, summed over the C classes of each sample (equations 2 and 3).

    Args:
        logits: (..., C). Each of the C outputs is a binary problem of its own.
        target: class indices of shape (...) and any integer type, naming the one positive output of each sample
            (C names none of them), or dense targets in [0, 1] of the logits' shape.
        weight: constant factors: with fewer dimensions than the logits it broadcasts to (...), one
            factor a sample; with as many it broadcasts to (..., C), one factor an element.
        reduction: "none" gives the loss of each sample, shape (...); "sum" their sum; "mean" the sum
            divided by ``avg_factor`` or else by the number of samples, ignored ones included, as in mmdet.
        variant: "exact", or "released" for what the authors' code computes: logits clamped to
            [-4, 10], the reduced loss to [0, 20], with the gradient that PyTorch's binary cross-entropy gives.
        avg_factor: divisor of "mean".
        ignore_index: samples (or elements of a dense target) with this target contribute nothing.

    Returns:
        The loss, in the logits' dtype or float32 if that is wider. No samples give zero.

    ``torch.compile``, ``export``, ``jit.trace``, ``func.vmap`` and ``func.grad`` take it, and for second derivatives
    ``func.jacrev(func.jacrev(...))`` and ``autograd.functional.hessian``. The exact loss has no forward mode, which
    ``func.hessian``, ``func.jvp`` and ``func.jacfwd`` use: ``torch.compile`` takes no function that has one.
    ``jit.script`` does not take it.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction or variant, ``avg_factor`` with
            another reduction than "mean" or "none", a target or weight that requires a gradient.

    >>> logits = torch.full((2, 1204), -2.0)
    >>> gumbel_cross_entropy(logits, torch.tensor([0, 1203]))
    tensor(8.1327)
    """
    target = check_target(logits, target)
    ignored = None if ignore_index is None else target == ignore_index
    per_sample, elementwise = split_weight(logits, weight)
    if variant == "exact":
        loss, _ = _GumbelLoss.apply(logits, target, elementwise, ignored)
    elif variant == "released":
        loss = _released_loss(logits, target, elementwise, ignored)
    else:
        raise ValueError(f'expected variant "exact" or "released", found {variant!r}')
    loss = reduce_loss(loss if per_sample is None else loss * per_sample, reduction, avg_factor)
    # The authors clamp the loss after reducing it.
    return loss.clamp(0, 20) if variant == "released" and reduction != "none" else loss


class GumbelCrossEntropyLoss(nn.Module):
    """:func:`gumbel_cross_entropy` as a module.

    >>> GumbelCrossEntropyLoss()(torch.zeros(4, 3), torch.tensor([0, 1, 2, 2]))
    tensor(1.9174)
    """

    def __init__(
        self, reduction: Reduction = "mean", variant: Variant = "exact", ignore_index: int | None = None
    ) -> None:
        super().__init__()
        self.reduction: Reduction = reduction
        self.variant: Variant = variant
        self.ignore_index = ignore_index

    def forward(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: float | Tensor | None = None
    ) -> Tensor:
        """Loss of ``logits`` (..., C) as :func:`gumbel_cross_entropy` gives it."""
        return gumbel_cross_entropy(
            logits, target, weight, self.reduction, self.variant, avg_factor=avg_factor, ignore_index=self.ignore_index
        )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, variant={self.variant!r}, ignore_index={self.ignore_index}"


def check_target(logits: Tensor, target: Tensor) -> Tensor:
    """The target with whole numbers as int64: narrower ones hold neither every class index nor every ignored one."""
    if target.shape != logits.shape and target.shape != logits.shape[:-1]:
        raise ValueError(
            f"expected class indices of shape {tuple(logits.shape[:-1])} or dense targets of shape "
            f"{tuple(logits.shape)} for these logits, found a target of shape {tuple(target.shape)}"
        )
    if target.ndim < logits.ndim and (target.is_floating_point() or target.dtype == torch.bool):
        raise ValueError(f"expected integer class indices, found {target.dtype}: dense targets have the logits' shape")
    _check_constant("target", target)
    return target if target.is_floating_point() else target.long()


def _check_constant(name: str, tensor: Tensor) -> None:
    if tensor.requires_grad:
        raise ValueError(f"expected a constant {name}, found one that requires a gradient: detach it")


def split_weight(logits: Tensor, weight: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Check a loss's weight, and give it as (per sample, per element), unused ones None."""
    if weight is None:
        return None, None
    _check_constant("weight", weight)
    per_element = weight.ndim == logits.ndim
    shape = logits.shape if per_element else logits.shape[:-1]
    try:
        weight = weight.expand(shape)
    except RuntimeError as error:
        raise ValueError(
            f"expected a weight that broadcasts to {tuple(shape)}, found shape {tuple(weight.shape)}"
        ) from error
    return (None, weight) if per_element else (weight, None)


def reduce_loss(loss: Tensor, reduction: str, avg_factor: float | Tensor | None = None) -> Tensor:
    """Reduce the losses of samples, of any shape, as mmdet does.

    "mean" divides by ``avg_factor`` where it is given (at least float32's epsilon, so that 0 does not divide), else by
    the number of samples (at least 1).
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'expected reduction "none", "mean" or "sum", found {reduction!r}')
    if reduction == "none":
        return loss
    if reduction == "sum":
        if avg_factor is not None:
            raise ValueError('expected avg_factor only with reduction "mean", found it with "sum"')
        return loss.sum()
    if avg_factor is None:
        return loss.sum() / max(loss.numel(), 1)
    smallest = torch.finfo(torch.float32).eps
    return loss.sum() / (
        avg_factor.clamp(min=smallest) if isinstance(avg_factor, Tensor) else max(avg_factor, smallest)
    )


def widen(logits: Tensor) -> Tensor:
    """The logits in the dtype to compute in: float32 at least."""
    return logits if logits.dtype in _LINEAR else logits.float()


class _GumbelLoss(torch.autograd.Function):
    """Loss per sample (...) of logits (..., C), with its slope (..., C) computed along the way.

    ``weight`` has the logits' shape, ``ignored`` the target's; either may be None.
    """

    @staticmethod
    def forward(logits: Tensor, target: Tensor, weight: Tensor | None, ignored: Tensor | None) -> tuple[Tensor, Tensor]:
        rows = logits.shape[:-1].numel()
        flat: list[Any] = [
            None if x is None else x.reshape(rows, *x.shape[logits.ndim - 1 :]) for x in (target, weight, ignored)
        ]
        loss, slope = _loss_and_slope(logits.reshape(rows, logits.shape[-1]), *flat)
        return loss.view(logits.shape[:-1]), slope.view(logits.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs)
        ctx.slope = output[1]

    @staticmethod
    def backward(ctx: Any, loss_grad: Tensor | None, _: None) -> tuple[Tensor | None, None, None, None]:
        if loss_grad is None:
            return None, None, None, None
        inputs = ctx.saved_tensors
        if torch.is_grad_enabled():  # this backward is to be differentiated in turn
            grad = loss_grad.unsqueeze(-1) * _differentiable_slope(*inputs)
        else:
            # The slope's buffer becomes the gradient; another backward through a retained graph has to fill a new one.
            slope, ctx.slope = ctx.slope, None
            grad = (_GumbelLoss.forward(*inputs)[1] if slope is None else slope).mul_(loss_grad.unsqueeze(-1))
        return grad.to(inputs[0].dtype), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor | None) -> tuple[Any, Any]:
        batched = [
            None if x is None else x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
            for x, dim in zip(inputs, in_dims, strict=True)
        ]
        return _GumbelLoss.apply(*batched), (0, 0)


def _loss_and_slope(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignored: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Loss (N,) and slope (N, C) of logits (N, C); in eager mode on a CPU, a block of rows at a time."""
    index = None if target.ndim == 2 else _index_terms(logits, target, ignored)
    if logits.device.type != "cpu" or torch.compiler.is_compiling() or logits.numel() <= _BLOCK:
        return _block(logits, target, weight, ignored, index)
    rows, classes = logits.shape
    slope = torch.empty_like(logits, dtype=widen(logits[:0]).dtype)
    loss = slope.new_empty(rows)
    step = max(1, _BLOCK // classes)
    work = slope.new_empty(_BUFFERS, step, classes)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        loss[part], _ = _block(
            logits[part],
            target[part],
            None if weight is None else weight[part],
            None if ignored is None else ignored[part],
            None if index is None else [x[part] for x in index],
            slope[part],
            work[:, : min(step, rows - start)].unbind(),
        )
    return loss, slope


def _block(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignored: Tensor | None,
    index: Sequence[Tensor] | None,
    slope: Tensor | None = None,
    work: Sequence[Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor]:
    """Loss (n,) and slope (n, C) of a block of logits (n, C); ``slope`` and ``work`` are buffers to use."""
    q = widen(logits)
    mixed = _negative(q, slope, work)
    if index is None:
        y = target.to(q.dtype)
        positive = _positive(q, logits.dtype)
        mixed = [x.mul_(1 - y).addcmul_(y, other) for x, other in zip(mixed, positive, strict=True)]
    else:
        column, *terms = index
        mixed = [_put(x, column, term) for x, term in zip(mixed, terms, strict=True)]
    if weight is not None:
        mixed = [x.mul_(weight) for x in mixed]
    if ignored is not None:
        mask = _per_element(ignored, q)
        mixed = [x.masked_fill_(mask, 0) for x in mixed]
    return mixed[0].sum(-1), mixed[1]


def _negative(
    q: Tensor, slope: Tensor | None = None, work: Sequence[Tensor | None] = (None, None, None)
) -> list[Tensor]:
    """Losses and slopes of negatives at logits ``q``; ``slope`` and ``work`` are buffers of its shape to use."""
    u = torch.clamp(q, _LEAST_NEGATIVE[q.dtype], _LINEAR[q.dtype], out=slope).neg_().exp_()
    if not _TANH:
        odds = torch.expm1(u, out=work[0]).reciprocal_()
        u.mul_(odds)
        return [odds.log1p_().clamp_(min=q), u]
    # odds = 1 / expm1(u), as exp(-u) / ((1 + exp(-u)) tanh(u / 2))
    odds = torch.neg(u, out=work[0]).exp_()
    half = torch.mul(u, 0.5, out=work[1]).tanh_()
    odds.div_(half.addcmul_(half, odds))
    u.mul_(odds)
    # log1p is slow where its polynomial underflows: take log(1 + odds) and add what that sum rounds away.
    total = torch.add(odds, 1, out=work[1])
    rounded = torch.sub(total, 1, out=work[2])
    odds.sub_(rounded).div_(total).add_(total.log_())
    return [odds.clamp_(min=q), u]


def _put(elements: Tensor, column: Tensor, term: Tensor) -> Tensor:
    """``elements`` (n, C) with ``term`` (n, 1) in the ``column`` (n, 1) of each row."""
    if torch.compiler.is_compiling():  # a comparison fuses with what is around it, a scatter does not
        return torch.where(torch.arange(elements.shape[-1], device=column.device) == column, term, elements)
    return elements.scatter_(-1, column, term)


def _positive(q: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Losses and slopes of positives at logits ``q`` that came in ``dtype``."""
    limit = -_TANGENT[dtype]
    u = torch.exp(-q.clamp(min=limit))
    return u * (1 + (limit - q).clamp(min=0)), -u


def _index_terms(logits: Tensor, target: Tensor, ignored: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The one column of each row that an index target is about, and its loss and slope: all (N, 1)."""
    column, named = _column(target, ignored, logits.shape[-1])
    q = widen(logits.gather(-1, column))
    loss, slope = (torch.where(named, x, y) for x, y in zip(_positive(q, logits.dtype), _negative(q), strict=True))
    return column, loss, slope


def _differentiable_slope(logits: Tensor, target: Tensor, weight: Tensor | None, ignored: Tensor | None) -> Tensor:
    """The slope (..., C) of :class:`_GumbelLoss`, in operations that autograd differentiates."""
    q = widen(logits)
    # From 40 on the slope is 1 to the last bit; higher derivatives would overflow on the way.
    u = torch.exp(-q.clamp(_LEAST_NEGATIVE[q.dtype], 40))
    y = dense_target(q, target, ignored)
    slope = (1 - y) * (u / torch.expm1(u)) + y * _positive(q, logits.dtype)[1]
    if weight is not None:
        slope = slope * weight
    return slope if ignored is None else slope.masked_fill(_per_element(ignored, q), 0)


def _per_element(ignored: Tensor, logits: Tensor) -> Tensor:
    """Mask that broadcasts to the logits (..., C), from one of their shape or of (...)."""
    return ignored if ignored.ndim == logits.ndim else ignored.unsqueeze(-1)


def _column(target: Tensor, ignored: Tensor | None, classes: int) -> tuple[Tensor, Tensor]:
    """Column of each positive (..., 1), and whether the target names one; the others get column 0."""
    named = target != classes
    if ignored is not None:
        named = named & ~ignored
    return torch.where(named, target, 0).long().unsqueeze(-1), named.unsqueeze(-1)


def dense_target(logits: Tensor, target: Tensor, ignored: Tensor | None) -> Tensor:
    """Target (..., C) in the logits' dtype: one-hot from an index (...), where the index C names no class."""
    if target.ndim == logits.ndim:
        return target.to(logits.dtype)
    column, named = _column(target, ignored, logits.shape[-1])
    return torch.zeros_like(logits).scatter(-1, column, named.to(logits.dtype))


def _released_loss(logits: Tensor, target: Tensor, weight: Tensor | None, ignored: Tensor | None) -> Tensor:
    """Loss per sample as the authors' code computes it, on a dense target.

    https://github.com/kostas1515/GOL, ``gumbel_cross_entropy``: binary cross-entropy floors its logarithms at -100 and
    p (1 - p) at 1e-12 in its backward, hence the vanishing slope near -4.
    """
    q = widen(logits).clamp(-4, 10)
    y = dense_target(q, target, ignored)
    mask = torch.zeros_like(y, dtype=torch.bool) if ignored is None else _per_element(ignored, q)
    with torch.autocast(logits.device.type, enabled=False):
        scores = 1 / torch.exp(torch.exp(-q.masked_fill(mask, 0)))
        loss = F.binary_cross_entropy(scores, y.masked_fill(mask, 0), reduction="none")
    return (loss if weight is None else loss * weight).masked_fill(mask, 0).sum(-1)
