"""The claims and their verdicts."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from gumbel.experiment.schema import Experiment
from gumbel.report.page.results import PageSection, Results
from gumbel.report.verdicts.claims import Claim, Verdict
from gumbel.words import SIMULATED


class Line(NamedTuple):
    """A verdict, what the paper reports for it, and the id on the page of what it is decided on."""

    verdict: Verdict
    paper: str
    anchor: str


class Claims(PageSection):
    """Every claim with its verdicts."""

    title = "Claims"

    def __init__(self, results: Results):
        self.verdicts = results.verdicts
        self.coverage = SIMULATED["differences" if results.several_seeds else "difference"]
        norms = results.summary[results.summary["source"] == "weight_norms"]["architecture"].unique()
        ids = {f"row-{name}" for name in results.experiment.architectures} | {f"norms-{name}" for name in norms}
        paper = {figure: value for figure, (value, _) in results.published.items()}
        decisions: dict[str, tuple[Claim, list[Line]]] = {}
        for verdict in results.verdicts:
            claim, architecture = verdict.claim, verdict.architecture
            line = Line(verdict, claim.published(architecture or "", paper), claim.anchor(architecture, ids))
            decisions.setdefault(claim.id, (claim, []))[1].append(line)
        self.decisions = list(decisions.values())


def claims_frame(verdicts: Iterable[Verdict], experiment: Experiment) -> pd.DataFrame:
    """Verdicts as a table: one row a claim and architecture."""
    return pd.DataFrame(
        {
            "claim": v.claim.id,
            "architecture": v.architecture,
            "statement": v.claim.statement,
            "verdict": v.outcome,
            "finding": v.finding,
            "value": v.value,
            "low": v.interval and v.interval[0],
            "high": v.interval and v.interval[1],
            "interval_over": v.over or None,
            "threshold": v.claim.threshold and v.claim.threshold.value,
            "unit": v.claim.threshold and v.claim.threshold.unit,
            "evidence": v.evidence,
            "caveat": "; ".join(filter(None, (v.claim.caveat(experiment), v.caveat))) or None,
        }
        for v in verdicts
    )
