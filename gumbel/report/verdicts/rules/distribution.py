"""How often objects are expected at a place."""

from collections.abc import Iterator
from typing import Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Verdict, rows
from gumbel.section import Section
from gumbel.words import scientific


class DistributionEvidence(Section):
    """A mean over the categories of some frequency groups, from the object distribution."""

    metric: str
    groups: list[Literal["rare", "common", "frequent", "all"]] = Field(min_length=1)


class DistributionClaim(Claim):
    """Expected occurrences, shown and not judged: those of any data would be low."""

    words = (
        "An illustration, not a test: the centre of an object lies in one cell of the grid, so that the mean over "
        "cells is low for every category."
    )
    section = "distribution"
    counted = False

    rule: Literal["object_distribution"]
    evidence: DistributionEvidence

    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator[Verdict]:
        metric, groups = self.evidence.metric, self.evidence.groups
        found = rows(summary, source="object_distribution", metric=metric).set_index("text")["value"].to_dict()
        if absent := [group for group in groups if group not in found]:
            yield self.not_run(None, f"{metric} of {absent[0]} categories")
            return
        words = ", ".join(f"{group} {scientific(found[group])}" for group in groups)
        words += f"; of a category that is in every image it would be {scientific(experiment.grid**-2)}"
        yield Verdict(self, None, "illustration", max(found[group] for group in groups), None, words)
