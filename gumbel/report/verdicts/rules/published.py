"""Figures against the published ones."""

from collections.abc import Iterator
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Side, Verdict, per_seed, rows, within
from gumbel.section import Section
from gumbel.words import activation_name, fixed


class PublishedEvidence(Section):
    """Figures that the paper publishes."""

    iou_type: Literal["segm", "bbox"]
    metrics: list[str] = Field(min_length=1)


class PublishedClaim(Claim):
    """Figures equal the published ones; decided only in an experiment that follows the paper's recipe."""

    words = "Reproduced within the published uncertainty plus {threshold}; contradicted otherwise."

    rule: Literal["published"]
    evidence: PublishedEvidence

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
            tolerance = self.threshold.value + 100 * (row.high - row.value)
            yield Verdict(self, row.architecture, within(abs(value), tolerance), value, None, words, side)
