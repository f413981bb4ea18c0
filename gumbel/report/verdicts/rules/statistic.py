"""One activation's weight norms against others'."""

from collections.abc import Iterator
from typing import Literal

import pandas as pd
from pydantic import Field

from gumbel.experiment.schema import Experiment
from gumbel.report.verdicts.claims import Claim, Side, Verdict, judge, rows
from gumbel.section import Section
from gumbel.words import activation_name


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
        for architecture in self.evidence.architectures:
            yield self._smaller(architecture, summary)

    def _smaller(self, architecture: str, summary: pd.DataFrame) -> Verdict:
        """The smallest of the others minus the activation's own; stages and seeds are averaged first."""
        of, against = self.evidence.of, self.evidence.against
        side = Side(activation=of)
        found = rows(summary, source="weight_norms", architecture=architecture, metric=self.evidence.metric)
        sizes = {}
        for activation in (of, *against):
            values = found[found["activation"] == activation]["value"].abs()
            if values.empty:
                return self.not_run(architecture, activation_name(activation), side)
            sizes[activation] = float(values.mean())
        value = min(sizes[other] for other in against) - sizes[of]
        words = [f"{activation_name(name)} {size:.2f}" for name, size in sizes.items()]
        evidence = f"{words[0]}; {', '.join(words[1:])}"
        return Verdict(self, architecture, judge(value, value, self.threshold.value), value, None, evidence, side)
