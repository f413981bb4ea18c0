"""Figures against the published ones."""

from collections.abc import Iterator
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts import trainings
from gumbel.report.verdicts.claims import Claim, Side, Threshold, Verdict, judge, per_seed, rows
from gumbel.section import Section
from gumbel.words import activation_name, fixed


class PublishedEvidence(Section):
    """Figures that the paper publishes."""

    iou_type: Literal["segm", "bbox"]
    metrics: list[str] = Field(min_length=1)


class PublishedClaim(Claim):
    """Figures equal the published ones; decided only in an experiment that follows the paper's recipe."""

    words = (
        "Judged by the 95 % interval of the difference, where the published number counts as one more training: "
        "reproduced within the published uncertainty plus {threshold}, contradicted outside, otherwise undecided."
    )
    reproduction = {  # noqa: RUF012
        "equivalent": "reproduced",
        **dict.fromkeys(("above", "below"), "contradicted"),
        **dict.fromkeys(("positive", "negative"), "undecided"),
    }

    rule: Literal["published"]
    evidence: PublishedEvidence
    threshold: Threshold

    def judged(self, experiment: Experiment) -> bool:
        return experiment.reproduction

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        paper = rows(summary, source="paper", iou_type=self.evidence.iou_type)
        row: Any
        for row in paper[paper["metric"].isin(self.evidence.metrics)].itertuples():
            cell = {key: getattr(row, key) for key in ("architecture", "activation", "scoring", "iou_type", "metric")}
            ours = per_seed(summary, source="evaluation", split=experiment.splits[0], **cell)
            name = f"{activation_name(row.activation, row.scoring)} {row.metric}"
            side = Side(activation=row.activation, scoring=row.scoring)
            if ours.empty:
                yield self.not_run(row.architecture, name, side)
                continue
            value = 100 * (float(ours.mean()) - row.value)
            words = f"{name}: {100 * ours.mean():.1f} − {100 * row.value:.1f} = {fixed(value, '+.1f')}"
            spread = trainings.published().get((row.iou_type, row.metric))
            over, caveat = (
                "a published spread of trainings",
                f"the spread of trainings is a published one, {spread and spread.words}",
            )
            if len(ours) >= trainings.ENOUGH:
                spread, over, caveat = trainings.own((100 * ours).tolist()), "trainings", ""
            if spread is None:
                words = f"{trainings.number(len(ours))}: {words}"
                yield Verdict(self, row.architecture, "few_trainings", value, None, words, side)
                continue
            reach = spread.reach(len(ours), 1)
            interval, tolerance = (value - reach, value + reach), self.threshold.value + 100 * (row.high - row.value)
            finding = judge(*interval, tolerance)
            yield Verdict(self, row.architecture, finding, value, interval, words, side, over, caveat)
