"""Verdicts: each statement of the paper, decided by its written rule from the summary alone.

The statements, rules and thresholds are data (``configs/paper/claims.yaml``). What a kind of rule means is a class of
:mod:`gumbel.report.verdicts.rules`: a subclass of :class:`Claim` there is a rule, by the name that its ``rule`` says.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

import pandas as pd
import yaml
from pydantic import Field, ValidationError, create_model

from gumbel.experiment.schema import Experiment, Scoring
from gumbel.paths import CONFIGS
from gumbel.report.verdicts import rules
from gumbel.section import Section
from gumbel.words import VERDICTS, fixed, scientific

CLAIMS = CONFIGS / "paper" / "claims.yaml"

#: What an interval of a difference says of a threshold, and why there may be no such interval.
Finding = Literal[
    "above", "positive", "equivalent", "undecided", "negative", "below", "holds", "fails", "illustration",
    "not_measurable", "few_trainings", "not_run",
]  # fmt: skip
#: What a published figure is of: architecture, activation, scoring, kind of overlap, metric.
Published = tuple[str, str, str, str, str]


class Side(Section):
    """One side of a comparison of AP."""

    activation: str
    scoring: Scoring = "matched"


class Threshold(Section):
    """A number that a verdict hangs on, and where it comes from."""

    value: float
    unit: str
    origin: str

    def __str__(self) -> str:
        return f"{f'{self.value:g}' if self.value >= 1e-3 else scientific(self.value)} {self.unit}"


class Claim(Section, ABC):
    """A statement with the rule that decides it. A kind of rule adds ``rule: Literal[...]`` and its ``evidence``."""

    #: The rule as a sentence, with ``{threshold}``.
    words: ClassVar[str]
    #: What a run must have for the statement to be about it; empty for one about mathematics.
    needs: ClassVar[str] = "the paper’s data and recipe"
    #: Whether it is a check of the implementation or an illustration: neither counts as a decision.
    counted: ClassVar[bool] = True
    #: How findings are said of a reproduction, and of any other run; as they are where they are not named.
    reproduction: ClassVar[Mapping[Finding, str]] = {"above": "reproduced", "below": "contradicted"}
    elsewhere: ClassVar[Mapping[Finding, str]] = {
        **dict.fromkeys(("above", "positive"), "same_direction"),
        **dict.fromkeys(("below", "negative"), "opposite"),
        **dict.fromkeys(("equivalent", "undecided"), "no_clear_difference"),
    }
    #: The section of the page that shows what it is decided on, and what the ids of an architecture's rows start with.
    section: ClassVar[str] = "matrix"
    rows: ClassVar[str] = "row"
    #: How bounds are printed.
    form: ClassVar[str] = "+.1f"
    #: Whether published numbers stand beside its verdicts.
    beside_paper: ClassVar[bool] = False

    id: str
    statement: str
    source: str
    threshold: Threshold | None = None

    @property
    def rule_in_words(self) -> str:
        """The decision rule as a sentence."""
        return self.words.format(threshold=self.threshold)

    def caveat(self, experiment: Experiment) -> str:
        """What the claim says of itself in a run that is no reproduction; empty in one."""
        if experiment.reproduction or not self.needs:
            return ""
        return (
            f"A verdict needs {self.needs}, which this run does not have: a direction here confirms or refutes nothing."
        )

    def judged(self, experiment: Experiment) -> bool:
        """Whether it means anything in ``experiment``."""
        return True

    @abstractmethod
    def decide(self, summary: pd.DataFrame, experiment: Experiment) -> Iterator["Verdict"]:
        """Its verdicts, on the experiment's first split: one an architecture where it is about architectures."""

    def published(self, architecture: str, paper: Mapping[Published, float]) -> str:
        """What the paper reports for it, such as ``19.0 − 15.2 = +3.8``; empty where it is about no such number."""
        return ""

    def anchor(self, architecture: str | None, ids: Collection[str]) -> str:
        """The id on the page of what it is decided on: rows of ``architecture`` if they are among ``ids``."""
        rows = f"{self.rows}-{architecture}"
        return rows if rows in ids else self.section

    def not_run(self, architecture: str | None, missing: str, side: Side | None = None) -> "Verdict":
        return Verdict(self, architecture, "not_run", None, None, f"no value: {missing}", side)


@dataclass(frozen=True)
class Verdict:
    """What became of a claim, for one architecture or as a whole.

    ``value`` is what the rule judges, in ``claim.threshold.unit``; ``interval`` its 95 % bounds over what ``over``
    names, where there are any; ``evidence`` puts it in words; ``side`` is the activation that it is about, of one
    architecture. ``caveat`` is what is to know of this verdict, beside what :meth:`Claim.caveat` says of all.
    """

    claim: Claim
    architecture: str | None
    finding: Finding
    value: float | None
    interval: tuple[float, float] | None
    evidence: str
    side: Side | None = None
    over: str = ""
    caveat: str = ""
    reproduction: bool = False

    @property
    def outcome(self) -> str:
        """The finding as it is said: something is reproduced or contradicted in a reproduction alone."""
        said = self.claim.reproduction if self.reproduction else self.claim.elsewhere
        return said.get(self.finding, self.finding)

    @property
    def bounds(self) -> str:
        """The interval as ``images and trainings: −1.2 to +2.8``; empty without one."""
        if self.interval is None:
            return ""
        return f"{self.over}: " + " to ".join(fixed(bound, self.claim.form) for bound in self.interval)


def load_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims of a YAML file, validated.

    Raises ``ValueError`` that names the file and the entry when a key, rule or value is not as expected.
    """
    for module in pkgutil.iter_modules(rules.__path__):
        import_module(f"{rules.__name__}.{module.name}")
    kinds: Any = Annotated[Union[tuple(Claim.__subclasses__())], Field(discriminator="rule")]  # noqa: UP007
    version: Any = (Literal[1], Field(alias="schema"))
    file: Any = create_model("ClaimsFile", __base__=Section, schema_version=version, claims=(list[kinds], ...))
    try:
        read: Any = file.model_validate(yaml.safe_load(path.read_text()))
        return read.claims
    except ValidationError as error:
        raise ValueError(f"{path}: expected claims as documented in docs/report.md. {error}") from error


def decide(summary: pd.DataFrame, claims: Iterable[Claim], experiment: Experiment) -> list[Verdict]:
    """Verdicts of ``claims`` on a summary as :func:`gumbel.report.summary.collect.collect` gives it.

    The experiment's first split decides. Claims about absolute numbers are left out unless the experiment
    follows the paper's recipe (``experiment.reproduction``).
    """
    return [
        replace(verdict, reproduction=experiment.reproduction)
        for claim in claims
        if claim.judged(experiment)
        for verdict in claim.decide(summary, experiment)
    ]


def count(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """How many decisions have each outcome, those that none has left out; checks and illustrations are no decisions."""
    counts = Counter(verdict.outcome for verdict in verdicts if verdict.claim.counted)
    return {outcome: counts[outcome] for outcome in VERDICTS if counts[outcome]}


def judge(low: float, high: float, margin: float) -> Finding:
    """What an interval of a difference says: of 0, and of the threshold ``margin`` on both sides.

    Example:
        >>> judge(1.2, 3.0, margin=1.0), judge(0.2, 3.0, margin=1.0), judge(-0.5, 0.9, margin=1.0)
        ('above', 'positive', 'equivalent')
        >>> judge(-1.0, 3.0, margin=1.0), judge(-3.0, -0.2, margin=1.0), judge(-4.0, -2.0, margin=1.0)
        ('undecided', 'negative', 'below')
    """
    if low > margin:
        return "above"
    if high < -margin:
        return "below"
    if -margin <= low and high <= margin:
        return "equivalent"
    if low > 0:
        return "positive"
    return "negative" if high < 0 else "undecided"


def rows(summary: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows with a value whose columns are ``where``."""
    chosen = summary["value"].notna()
    for column, value in where.items():
        chosen &= summary[column] == value
    return summary[chosen]


def per_seed(summary: pd.DataFrame, **where: object) -> pd.Series:
    """The mean value of the rows of each seed."""
    return rows(summary, **where).groupby("seed")["value"].mean()
