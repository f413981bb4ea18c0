"""The gradient of the loss against the paper's Eq. 3."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field

from gumbel import functional
from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Threshold, Verdict
from gumbel.section import Section
from gumbel.words import scientific


class GradientEvidence(Section):
    """Logits at which the gradient is checked: ``points`` of them, evenly from ``low`` to ``high``."""

    low: float
    high: float
    points: int = Field(ge=2)


class GradientClaim(Claim):
    """Automatic differentiation gives Eq. 3."""

    words = "A check of the implementation: it holds if the largest deviation is at most {threshold}."
    needs = ""
    counted = False
    section = "activation"

    rule: Literal["gradient"]
    evidence: GradientEvidence
    threshold: Threshold

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        low, high = self.evidence.low, self.evidence.high
        error = gradient_error(low, high, self.evidence.points)
        words = f"largest relative deviation {scientific(error)}, logits from {low:g} to {high:g}".replace("-", "−")
        yield Verdict(self, None, "holds" if error <= self.threshold.value else "fails", error, None, words)


def gradient_error(low: float, high: float, points: int) -> float:
    """Largest relative deviation from Eq. 3, over logits and both labels, in float64.

    Compared with Eq. 3 are the gradient of this package's loss and automatic differentiation of Eq. 2.
    """
    logits = torch.linspace(low, high, points, dtype=torch.float64)
    u = np.exp(-logits.numpy())
    worst = 0.0
    for label, expected in ((1.0, -u), (0.0, u / np.expm1(u))):
        for loss in (functional.gumbel_cross_entropy, _equation_2):
            q = logits.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(q, torch.full_like(q, label), reduction="sum"), q)
            worst = max(worst, float(np.max(np.abs(gradient.numpy() / expected - 1))))
    return worst


def _equation_2(q: torch.Tensor, target: torch.Tensor, reduction: str) -> torch.Tensor:
    """Eq. 2 from the score of Eq. 1; log(1 - exp(-u)) in the form that keeps its digits on each side of log 2."""
    u = torch.exp(-q)
    other = torch.where(u > np.log(2), torch.log1p(-torch.exp(-u)), torch.log(-torch.expm1(-u)))
    return -torch.where(target == 1, torch.log(torch.exp(-u)), other).sum()
