"""Error of the Gumbel loss and its gradient against 50-digit arithmetic; prints a Markdown table.

    python benchmarks/accuracy.py

The error is relative, in units of the dtype's machine epsilon times the condition number of the
formula with respect to u = exp(-q): 1 for positives, 1 + u for negatives. It is taken where the true
value is at least 2^24 times the smallest normal number; the documented tangent below q = -64
(float64: -600) is excluded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import mpmath
import torch

from gumbel import gumbel_cross_entropy

RANGES = ((-600, -64), (-64, -10), (-10, -2), (-2, 2), (2, 10), (10, 80), (80, 1e4))
TANGENT = {torch.float32: -64, torch.float64: -600}


@dataclass(frozen=True)
class Error:
    """Largest error over a range of logits, in epsilons times the condition number."""

    dtype: torch.dtype
    positive: bool
    low: float
    high: float
    value: float
    gradient: float


def truth(logit: float, positive: bool) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
    """Loss, its derivative and the condition number, from the closed forms."""
    u = mpmath.exp(-mpmath.mpf(logit))
    if positive:
        return u, -u, mpmath.mpf(1)
    loss = -mpmath.log(-mpmath.expm1(-u)) if u < 1 else -mpmath.log1p(-mpmath.exp(-u))
    return loss, u / mpmath.expm1(u), 1 + u


def computed(logits: torch.Tensor, positive: bool) -> tuple[list[float], list[float]]:
    """Loss and derivative of each logit as a sample with one class."""
    logits = logits.unsqueeze(-1).requires_grad_()
    target = torch.full((len(logits),), 0 if positive else 1)  # the index C names no class
    losses = gumbel_cross_entropy(logits, target, reduction="none")
    (slopes,) = torch.autograd.grad(losses.sum(), logits)
    return losses.tolist(), slopes.squeeze(-1).tolist()


def errors(points: int = 400) -> Iterator[Error]:
    """Errors per dtype, kind of target and range of logits, on ``points`` logits each."""
    with mpmath.workdps(50):
        for dtype, tangent in TANGENT.items():
            smallest = 2**24 * torch.finfo(dtype).tiny
            for positive in (True, False):
                for low, high in RANGES:
                    if high <= tangent:
                        continue
                    logits = torch.linspace(max(low, tangent), high, points, dtype=torch.float64).to(dtype)
                    worst = [0.0, 0.0]
                    seen = False
                    for logit, *found in zip(logits.tolist(), *computed(logits, positive), strict=True):
                        *expected, condition = truth(logit, positive)
                        for i, (value, exact) in enumerate(zip(found, expected, strict=True)):
                            if abs(exact) >= smallest:
                                relative = abs(value - exact) / abs(exact) / condition / torch.finfo(dtype).eps
                                worst[i], seen = max(worst[i], float(relative)), True
                    if seen:
                        yield Error(dtype, positive, max(low, tangent), high, *worst)


def main() -> None:
    print("| dtype | target | logits | loss | gradient |")
    print("| --- | --- | --- | ---: | ---: |")
    for error in errors(points=2000):
        kind = "positive" if error.positive else "negative"
        dtype = str(error.dtype).removeprefix("torch.")
        print(f"| {dtype} | {kind} | [{error.low:g}, {error.high:g}] | {error.value:.2f} | {error.gradient:.2f} |")


if __name__ == "__main__":
    main()
