"""One activation against others: its AP, or its weight norms."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Outcome, Published, Side, Verdict, judge, per_seed, rows
from gumbel.section import Section
from gumbel.words import activation_name, fixed, percent


class DifferenceEvidence(Section):
    """A figure of the evaluation, of one activation and of others."""

    iou_type: Literal["segm", "bbox"]
    metric: str
    of: Side
    against: list[Side] = Field(min_length=1)
    architectures: list[str]


class DifferenceClaim(Claim):
    """One activation's figure lies above the others'."""

    words = (
        "Reproduced if the difference (its whole interval, where there is one) is above +{threshold}; "
        "contradicted below −{threshold}; else inconclusive."
    )
    beside_paper = True

    rule: Literal["difference"]
    evidence: DifferenceEvidence

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
        of, figure = self.evidence.of, {"iou_type": self.evidence.iou_type, "metric": self.evidence.metric}
        summary = rows(summary, architecture=architecture, split=experiment.splits[0], **figure)
        sides = {
            side: per_seed(summary, source="evaluation", activation=side.activation, scoring=side.scoring)
            for side in (of, against)
        }
        seeds = sides[of].index.intersection(sides[against].index)
        if seeds.empty:
            absent = [activation_name(side.activation, side.scoring) for side, found in sides.items() if found.empty]
            return self.not_run(architecture, " and ".join(absent) or "no seed that both have", of)
        first, second = (100 * values[seeds].mean() for values in sides.values())
        interval = _paired_interval(summary, of, against)
        outcome = judge(*(interval or (first - second, first - second)), self.threshold.value)
        words = f"{first:.1f} − {second:.1f} = {fixed(first - second, '+.1f')}"
        return Verdict(self, architecture, outcome, first - second, interval, words, of)


def _paired_interval(summary: pd.DataFrame, of: Side, against: Side) -> tuple[float, float] | None:
    """Bounds of the paired bootstrap, in points: a row of source ``paired`` whose text names the other side."""
    text = f"{against.activation}/{against.scoring}"
    found = rows(summary, source="paired", activation=of.activation, scoring=of.scoring, text=text)
    return None if found.empty else (100 * float(found["low"].iloc[0]), 100 * float(found["high"].iloc[0]))


def _worst(verdicts: list[Verdict]) -> Verdict:
    """Of several comparisons of one claim, the one that favours it least."""
    order: dict[Outcome, int] = {"not_run": 0, "contradicted": 1, "inconclusive": 2, "reproduced": 3}
    return min(verdicts, key=lambda v: (order[v.outcome], math.inf if v.value is None else v.value))


class StatisticEvidence(Section):
    """A statistic of the weight norms, of one activation and of others."""

    metric: str
    of: str
    against: list[str] = Field(min_length=1)
    architectures: list[str]


class StatisticClaim(Claim):
    """One activation's statistic of the weight norms is smaller in size than the others'."""

    words = (
        "Reproduced if smaller than each of the others by more than {threshold}; "
        "contradicted if larger than any by as much; else inconclusive."
    )
    section = rows = "norms"

    rule: Literal["compare_statistic"]
    evidence: StatisticEvidence

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        return (self._smaller(architecture, summary) for architecture in self.evidence.architectures)

    def _smaller(self, architecture: str, summary: pd.DataFrame) -> Verdict:
        """The smallest of the others minus the activation's own; stages and seeds are averaged first."""
        of, against = self.evidence.of, self.evidence.against
        side = Side(activation=of)
        found = rows(summary, source="weight_norms", architecture=architecture, metric=self.evidence.metric)
        sizes = {name: float(found[found["activation"] == name]["value"].abs().mean()) for name in (of, *against)}
        if absent := [name for name, size in sizes.items() if math.isnan(size)]:
            return self.not_run(architecture, activation_name(absent[0]), side)
        value = min(sizes[other] for other in against) - sizes[of]
        first, *others = (f"{activation_name(name)} {size:.2f}" for name, size in sizes.items())
        evidence = f"{first}; {', '.join(others)}"
        return Verdict(self, architecture, judge(value, value, self.threshold.value), value, None, evidence, side)


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
