"""One activation against others: its AP, or its weight norms."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from gumbel.evaluation.metrics import OF_GROUPS
from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts import trainings
from gumbel.report.verdicts.claims import Claim, Finding, Published, Side, Threshold, Verdict, judge, per_seed, rows
from gumbel.section import Section
from gumbel.words import activation_name, fixed, percent

#: A figure that prints as 0.0 points.
FLOOR = 0.05
_NEAR = "a bound is within the draws’ own error of a threshold, so that other draws may decide otherwise"
_RULE = (
    "Judged by the 95 % interval of the difference {over}, with at least three trainings a side: above +{{threshold}}, "
    "positive, equivalent (within ±{{threshold}}), negative, below −{{threshold}}, or undecided. In a reproduction, "
    "above is reproduced and below is contradicted. Not measurable if neither side is above 0."
)


class DifferenceEvidence(Section):
    """A figure of the evaluation, of one activation and of others."""

    iou_type: Literal["segm", "bbox"]
    metric: str
    of: Side
    against: list[Side] = Field(min_length=1)
    architectures: list[str]


class DifferenceClaim(Claim):
    """One activation's figure lies above the others'."""

    words = _RULE.format(over="over images and trainings, and for a group of categories also over categories")
    beside_paper = True

    rule: Literal["difference"]
    evidence: DifferenceEvidence
    threshold: Threshold

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        for architecture in self.evidence.architectures:
            yield _worst([self._compare(side, architecture, summary, experiment) for side in self.evidence.against])

    def published(self, architecture: str, paper: Mapping[Published, float]) -> str:
        sides, figure = (self.evidence.of, self.evidence.against[0]), (self.evidence.iou_type, self.evidence.metric)
        first, second = (paper.get((architecture, side.activation, side.scoring, *figure)) for side in sides)
        if first is None or second is None:
            return "unpublished"
        return f"{percent(first)} − {percent(second)} = {percent(first - second, sign=True)}"

    def _compare(self, against: Side, architecture: str, summary: pd.DataFrame, experiment: Experiment) -> Verdict:
        """One activation minus another, in points: the mean over the seeds that both have."""
        of, kind, metric = self.evidence.of, self.evidence.iou_type, self.evidence.metric
        found = rows(summary, architecture=architecture, split=experiment.splits[0], iou_type=kind, metric=metric)
        values = [
            100 * per_seed(found, source="evaluation", activation=side.activation, scoring=side.scoring)
            for side in (of, against)
        ]
        seeds = values[0].index.intersection(values[1].index)
        if seeds.empty:
            names = [activation_name(side.activation, side.scoring) for side in (of, against)]
            absent = [name for name, value in zip(names, values, strict=True) if value.empty]
            return self.not_run(architecture, " and ".join(absent) or "no seed that both have", of)
        sides = [float(value[seeds].mean()) for value in values]
        words = f"{sides[0]:.1f} − {sides[1]:.1f} = {fixed(sides[0] - sides[1], '+.1f')}" + _above_zero(
            found, of, against
        )
        sampled = ["images", "categories"] if metric in OF_GROUPS else ["images"]
        row = _paired(found, "paired", of.activation, f"{against.activation}/{against.scoring}", of.scoring)
        verdict = _judged(self, architecture, of, sides, words, len(seeds), sampled, row, 100, FLOOR)
        spread = trainings.published().get((kind, metric)) if experiment.reproduction and len(seeds) == 1 else None
        if verdict.finding == "few_trainings" and verdict.interval and spread:
            return _with(verdict, spread, self.threshold.value)
        return verdict


class StatisticEvidence(Section):
    """A statistic of the weight norms, of one activation and of others."""

    metric: str
    of: str
    against: list[str] = Field(min_length=1)
    architectures: list[str]
    floor: float | None = Field(None, description="value that one side must exceed for a difference to mean anything")


class StatisticClaim(Claim):
    """One activation's statistic of the weight norms is smaller than the others', with its sign."""

    words = _RULE.format(over="(the other’s statistic minus its own, mean over stages) over categories and trainings")
    section = rows = "norms"
    form = "+.2f"

    rule: Literal["compare_statistic"]
    evidence: StatisticEvidence
    threshold: Threshold

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        for architecture in self.evidence.architectures:
            yield _worst([self._smaller(other, architecture, summary) for other in self.evidence.against])

    def _smaller(self, other: str, architecture: str, summary: pd.DataFrame) -> Verdict:
        """Another activation's statistic minus the activation's own, over the seeds that both have."""
        own, side = self.evidence.of, Side(activation=self.evidence.of)
        found = rows(summary, architecture=architecture, metric=self.evidence.metric)
        values = [per_seed(found, source="weight_norms", activation=name) for name in (other, own)]
        seeds = values[0].index.intersection(values[1].index)
        if seeds.empty:
            absent = [activation_name(name) for name, value in zip((other, own), values, strict=True) if value.empty]
            return self.not_run(architecture, " and ".join(absent) or "no seed that both have", side)
        sides = [float(value[seeds].mean()) for value in values]
        names = [
            f"{activation_name(name)} {fixed(value, '.2f')}" for name, value in zip((other, own), sides, strict=True)
        ]
        words = f"{' − '.join(names)} = {fixed(sides[0] - sides[1], '+.2f')}"
        row = _paired(found, "norm_paired", other, f"{own}/matched")
        return _judged(self, architecture, side, sides, words, len(seeds), ["categories"], row, 1, self.evidence.floor)


def _judged(
    claim: DifferenceClaim | StatisticClaim,
    architecture: str,
    side: Side,
    sides: list[float],
    words: str,
    number: int,
    sampled: list[str],
    row: Any,
    unit: float,
    floor: float | None,
) -> Verdict:
    """The first of two ``sides`` minus the second, over ``number`` trainings each.

    ``row`` of the summary bounds it, ``unit`` times, over what is ``sampled`` and, of several, over trainings.
    """
    margin = claim.threshold.value
    interval = None if row is None else (unit * float(row["low"]), unit * float(row["high"]))
    finding: Finding = judge(*interval, margin) if interval else "undecided"
    caveat = ""
    if floor is not None and max(sides) < floor:
        finding, caveat = "not_measurable", f"neither side is above {floor:.0f}"
    elif number < trainings.ENOUGH:
        finding, words = "few_trainings", f"{trainings.number(number)}: {words}"
    elif interval and min(abs(b - t) for b in interval for t in (-margin, 0, margin)) <= 2 * unit * row["error"]:
        caveat = _NEAR
    over = _listed([*sampled, "trainings"]) if number > 1 else f"{_listed(sampled)} alone"
    return Verdict(claim, architecture, finding, sides[0] - sides[1], interval, words, side, over, caveat)


def _with(verdict: Verdict, spread: trainings.Spread, margin: float) -> Verdict:
    """The verdict of one training each, with the spread that others found between trainings."""
    low, high = verdict.interval or (np.nan, np.nan)
    reach = np.hypot((high - low) / 2, spread.reach(1, 1))
    interval = float((low + high) / 2 - reach), float((low + high) / 2 + reach)
    over = f"{verdict.over.removesuffix(' alone')}, and a published spread of trainings"
    caveat = f"one training each: the spread of trainings is a published one, {spread.words}"
    return replace(verdict, finding=judge(*interval, margin), interval=interval, over=over, caveat=caveat)


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _paired(found: pd.DataFrame, source: str, activation: str, against: str, scoring: str | None = None) -> Any:
    """The row of a paired difference, whose text names the other side; None without bounds."""
    where = {"scoring": scoring} if scoring else {}
    paired = rows(found, source=source, activation=activation, text=against, **where).dropna(subset=["low", "high"])
    return None if paired.empty else paired.iloc[0]


def _above_zero(found: pd.DataFrame, *sides: Side) -> str:
    """On how many categories figures of a group rest."""
    counts = [
        rows(found, source="above_zero", activation=side.activation, scoring=side.scoring)[["value", "text"]].to_numpy()
        for side in sides
    ]
    if not all(len(count) for count in counts):
        return ""
    shown = " and ".join(f"{int(value)} of {of}" for ((value, of),) in counts)
    return f"; {shown} categories above 0"


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Of several comparisons of one claim, the one that favours it least."""
    order: tuple[Finding, ...] = (
        "not_run", "few_trainings", "below", "negative", "not_measurable", "undecided", "equivalent", "positive",
        "above",
    )  # fmt: skip
    return min(verdicts, key=lambda v: (order.index(v.finding), np.inf if v.value is None else v.value))


def compared(claims: Iterable[Claim], experiment: Experiment) -> tuple[str, str] | None:
    """The activation whose difference is shown, and the one that it is subtracted from; None where there is one alone.

    They are those of the first claim about a difference whose sides the experiment has; else its last and first.
    """
    names = experiment.activations
    for claim in claims:
        if isinstance(claim, DifferenceClaim) and claim.evidence.of.activation in names:
            for side in claim.evidence.against:
                if side.activation in names and side.activation != claim.evidence.of.activation:
                    return claim.evidence.of.activation, side.activation
    return (names[-1], names[0]) if len(names) > 1 else None
