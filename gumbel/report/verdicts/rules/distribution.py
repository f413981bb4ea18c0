"""How often objects are expected at a place."""

from collections.abc import Iterator
from typing import Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Verdict, rows, within
from gumbel.section import Section
from gumbel.words import scientific


class DistributionEvidence(Section):
    """A mean over the categories of some frequency groups, from the object distribution."""

    metric: str
    groups: list[Literal["rare", "common", "frequent", "all"]] = Field(min_length=1)


class DistributionClaim(Claim):
    """Every expected occurrence is at most a threshold."""

    words = "Reproduced if every expected value is at most {threshold}; contradicted otherwise."
    section = "distribution"

    rule: Literal["object_distribution"]
    evidence: DistributionEvidence

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        metric, groups = self.evidence.metric, self.evidence.groups
        found = rows(summary, source="object_distribution", metric=metric).set_index("text")["value"].to_dict()
        if absent := [group for group in groups if group not in found]:
            yield self.not_run(None, f"{metric} of {absent[0]} categories")
            return
        value = max(found[group] for group in groups)
        words = ", ".join(f"{group} {scientific(found[group])}" for group in groups)
        yield Verdict(self, None, within(value, self.threshold.value), value, None, words)
