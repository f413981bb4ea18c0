"""Verdicts: each statement of the paper, decided by its written rule from the summary alone.

The statements, rules and thresholds are data (``configs/paper/claims.yaml``); this module holds what
the few kinds of rule mean.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gumbel import functional
from gumbel.experiment.schema import Experiment, Scoring
from gumbel.paths import CONFIGS
from gumbel.words import activation_name, fixed, scientific

CLAIMS = CONFIGS / "paper" / "claims.yaml"

Outcome = Literal["reproduced", "contradicted", "inconclusive", "not_run"]


class Part(BaseModel):
    """A part of the claims file: immutable, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(Part):
    """One side of a comparison of AP."""

    activation: str
    scoring: Scoring = "matched"


class Threshold(Part):
    """A number that a verdict hangs on, and where it comes from."""

    value: float
    unit: str
    origin: str


class DifferenceEvidence(Part):
    """A figure of the evaluation, of one activation and of others."""

    iou_type: Literal["segm", "bbox"]
    metric: str
    of: Side
    against: list[Side] = Field(min_length=1)
    architectures: list[str]


class StatisticEvidence(Part):
    """A statistic of the weight norms, of one activation and of others."""

    metric: str
    of: str
    against: list[str] = Field(min_length=1)
    architectures: list[str]


class DistributionEvidence(Part):
    """A mean over the categories of some frequency groups, from the object distribution."""

    metric: str
    groups: list[Literal["rare", "common", "frequent", "all"]] = Field(min_length=1)


class GradientEvidence(Part):
    """Logits at which the gradient is checked: ``points`` of them, evenly from ``low`` to ``high``."""

    low: float
    high: float
    points: int = Field(ge=2)


class PublishedEvidence(Part):
    """Figures that the paper publishes."""

    iou_type: Literal["segm", "bbox"]
    metrics: list[str] = Field(min_length=1)


class _Claim(Part):
    id: str
    statement: str
    source: str
    threshold: Threshold


class DifferenceClaim(_Claim):
    """One activation's figure lies above the others'."""

    rule: Literal["difference"]
    evidence: DifferenceEvidence


class StatisticClaim(_Claim):
    """One activation's statistic of the weight norms is smaller in size than the others'."""

    rule: Literal["compare_statistic"]
    evidence: StatisticEvidence


class DistributionClaim(_Claim):
    """Every expected occurrence is at most a threshold."""

    rule: Literal["object_distribution"]
    evidence: DistributionEvidence


class GradientClaim(_Claim):
    """Automatic differentiation gives Eq. 3."""

    rule: Literal["gradient"]
    evidence: GradientEvidence


class PublishedClaim(_Claim):
    """Figures equal the published ones; decided only in an experiment that follows the paper's recipe."""

    rule: Literal["published"]
    evidence: PublishedEvidence


Claim = Annotated[
    DifferenceClaim | StatisticClaim | DistributionClaim | GradientClaim | PublishedClaim, Field(discriminator="rule")
]


class _ClaimsFile(Part):
    schema_version: Literal[1] = Field(alias="schema")
    claims: list[Claim]


@dataclass(frozen=True)
class Verdict:
    """What became of a claim, for one architecture or as a whole.

    ``value`` is what the rule judges, in ``claim.threshold.unit``; ``interval`` its 95 % bounds where the
    summary has them; ``evidence`` puts it in words; ``side`` is the activation that it is about, of one architecture.
    """

    claim: Claim
    architecture: str | None
    outcome: Outcome
    value: float | None
    interval: tuple[float, float] | None
    evidence: str
    side: Side | None = None

    @property
    def bounds(self) -> str:
        """The interval as ``−1.2 to +2.8``; empty without one."""
        return "" if self.interval is None else " to ".join(fixed(bound, "+.1f") for bound in self.interval)


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a YAML file, validated.

    Raises ``ValueError`` that names the file and the entry when a key, rule or value is not as expected.
    """
    try:
        return _ClaimsFile.model_validate(yaml.safe_load(path.read_text())).claims
    except ValidationError as error:
        raise ValueError(f"{path}: expected claims as documented in docs/report.md. {error}") from error


def rule_in_words(claim: Claim) -> str:
    """The decision rule of a claim as a sentence."""
    value = claim.threshold.value
    threshold = f"{value:g}" if value >= 1e-3 else scientific(value)
    threshold += f" {claim.threshold.unit}"
    match claim.rule:
        case "difference":
            text = (
                "Reproduced if the difference (its whole interval, where there is one) is above +{t}; "
                "contradicted below −{t}; else inconclusive."
            )
        case "compare_statistic":
            text = (
                "Reproduced if smaller than each of the others by more than {t}; "
                "contradicted if larger than any by as much; else inconclusive."
            )
        case "object_distribution":
            text = "Reproduced if every expected value is at most {t}; contradicted otherwise."
        case "gradient":
            text = "Reproduced if the largest deviation is at most {t}; contradicted otherwise."
        case _:
            text = "Reproduced within the published uncertainty plus {t}; contradicted otherwise."
    return text.format(t=threshold)


def judge(low: float, high: float, margin: float) -> Outcome:
    """Whether an interval of a difference lies above ``+margin``, below ``-margin``, or neither.

    Example:
        >>> judge(1.2, 3.0, margin=1.0), judge(-4.0, -2.0, margin=1.0), judge(-1.0, 3.0, margin=1.0)
        ('reproduced', 'contradicted', 'inconclusive')
    """
    if low > margin:
        return "reproduced"
    return "contradicted" if high < -margin else "inconclusive"


def decide(summary: pd.DataFrame, claims: list[Claim], experiment: Experiment) -> list[Verdict]:
    """Verdicts of ``claims`` on a summary as :func:`gumbel.report.summary.collect.collect` gives it.

    The experiment's first split decides. Claims about absolute numbers are left out unless the experiment
    follows the paper's recipe (``experiment.reproduction``).
    """
    judged = [claim for claim in claims if experiment.reproduction or claim.rule != "published"]
    return [verdict for claim in judged for verdict in _RULES[claim.rule](claim, summary, experiment)]


def _rows(summary: pd.DataFrame, **where: object) -> pd.DataFrame:
    chosen = pd.Series(True, index=summary.index)
    for column, value in where.items():
        chosen &= summary[column] == value
    return summary[chosen & summary["value"].notna()]


def _per_seed(summary: pd.DataFrame, **where: object) -> pd.Series:
    return _rows(summary, **where).groupby("seed")["value"].mean()


def _not_run(claim: Claim, architecture: str | None, missing: str, side: Side | None = None) -> Verdict:
    return Verdict(claim, architecture, "not_run", None, None, f"no value: {missing}", side)


def _difference(claim: DifferenceClaim, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
    for architecture in claim.evidence.architectures:
        compared = [_compare(claim, side, architecture, summary, experiment) for side in claim.evidence.against]
        yield _worst(compared)


def _compare(
    claim: DifferenceClaim, against: Side, architecture: str, summary: pd.DataFrame, experiment: Experiment
) -> Verdict:
    """One activation minus another, in points: the mean over the seeds that both have."""
    evidence, split = claim.evidence, experiment.splits[0]
    shared = {"architecture": architecture, "split": split, "iou_type": evidence.iou_type, "metric": evidence.metric}
    sides = [
        _per_seed(summary, source="evaluation", activation=side.activation, scoring=side.scoring, **shared)
        for side in (evidence.of, against)
    ]
    seeds = sides[0].index.intersection(sides[1].index)
    if seeds.empty:
        absent = [
            activation_name(s.activation, s.scoring)
            for s, v in zip((evidence.of, against), sides, strict=True)
            if v.empty
        ]
        return _not_run(claim, architecture, " and ".join(absent) or "no seed that both have", evidence.of)
    first, second = (100 * side[seeds].mean() for side in sides)
    interval = _paired_interval(summary, evidence.of, against, shared)
    low, high = interval or (first - second, first - second)
    words = f"{first:.1f} − {second:.1f} = {fixed(first - second, '+.1f')}"
    outcome = judge(low, high, claim.threshold.value)
    return Verdict(claim, architecture, outcome, first - second, interval, words, evidence.of)


def _paired_interval(
    summary: pd.DataFrame, of: Side, against: Side, shared: dict[str, str]
) -> tuple[float, float] | None:
    """Bounds of the paired bootstrap, in points: a row of source ``paired`` whose text names the other side."""
    text = f"{against.activation}/{against.scoring}"
    rows = _rows(summary, source="paired", activation=of.activation, scoring=of.scoring, text=text, **shared)
    return None if rows.empty else (100 * float(rows["low"].iloc[0]), 100 * float(rows["high"].iloc[0]))


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Of several comparisons of one claim, the one that favours it least."""
    order: dict[Outcome, int] = {"not_run": 0, "contradicted": 1, "inconclusive": 2, "reproduced": 3}
    return min(verdicts, key=lambda v: (order[v.outcome], math.inf if v.value is None else v.value))


def _compare_statistic(claim: StatisticClaim, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
    for architecture in claim.evidence.architectures:
        yield _smaller(claim, architecture, summary)


def _smaller(claim: StatisticClaim, architecture: str, summary: pd.DataFrame) -> Verdict:
    """The smallest of the others minus the activation's own; stages and seeds are averaged first."""
    evidence, side = claim.evidence, Side(activation=claim.evidence.of)
    where = {"source": "weight_norms", "architecture": architecture, "metric": evidence.metric}
    sizes = {}
    for activation in (evidence.of, *evidence.against):
        values = _rows(summary, activation=activation, **where)["value"].abs()
        if values.empty:
            return _not_run(claim, architecture, activation_name(activation), side)
        sizes[activation] = float(values.mean())
    value = min(sizes[other] for other in evidence.against) - sizes[evidence.of]
    others = ", ".join(f"{activation_name(other)} {sizes[other]:.2f}" for other in evidence.against)
    words = f"{activation_name(evidence.of)} {sizes[evidence.of]:.2f}; {others}"
    return Verdict(claim, architecture, judge(value, value, claim.threshold.value), value, None, words, side)


def _object_distribution(claim: DistributionClaim, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
    evidence = claim.evidence
    found = {}
    for group in evidence.groups:
        values = _rows(summary, source="object_distribution", metric=evidence.metric, text=group)["value"]
        if values.empty:
            yield _not_run(claim, None, f"{evidence.metric} of {group} categories")
            return
        found[group] = float(values.iloc[0])
    value = max(found.values())
    words = ", ".join(f"{group} {scientific(number)}" for group, number in found.items())
    yield Verdict(claim, None, _within(value, claim.threshold.value), value, None, words)


def _gradient(claim: GradientClaim, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
    evidence = claim.evidence
    error = gradient_error(evidence.low, evidence.high, evidence.points)
    words = f"largest relative deviation {scientific(error)}, logits from {evidence.low:g} to {evidence.high:g}"
    yield Verdict(claim, None, _within(error, claim.threshold.value), error, None, words.replace("-", "−"))


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


def _published(claim: PublishedClaim, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
    paper = _rows(summary, source="paper", iou_type=claim.evidence.iou_type)
    row: Any
    for row in paper[paper["metric"].isin(claim.evidence.metrics)].itertuples():
        cell = {key: getattr(row, key) for key in ("architecture", "activation", "scoring", "iou_type", "metric")}
        ours = _per_seed(summary, source="evaluation", split=experiment.splits[0], **cell)
        name = f"{activation_name(row.activation, row.scoring)} {row.metric}"
        side = Side(activation=row.activation, scoring=row.scoring)
        if ours.empty:
            yield _not_run(claim, row.architecture, name, side)
            continue
        value = 100 * (float(ours.mean()) - row.value)
        words = f"{name}: {100 * ours.mean():.1f} − {100 * row.value:.1f} = {fixed(value, '+.1f')}"
        tolerance = claim.threshold.value + 100 * (row.high - row.value)
        verdict = Verdict(claim, row.architecture, "reproduced", value, None, words, side)
        yield replace(verdict, outcome=_within(abs(value), tolerance))


def _within(value: float, limit: float) -> Outcome:
    return "reproduced" if value <= limit else "contradicted"


_RULES: dict[str, Callable[..., Iterator[Verdict]]] = {
    "difference": _difference,
    "compare_statistic": _compare_statistic,
    "object_distribution": _object_distribution,
    "gradient": _gradient,
    "published": _published,
}
