"""Verdicts: each statement of the paper, decided by its written rule from the summary alone.

The statements, rules and thresholds are data (``configs/paper/claims.yaml``). What a kind of rule means is a class of
:mod:`gumbel.report.verdicts.rules`: a subclass of :class:`Claim` there is a rule, by the name that its ``rule`` says.
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from gumbel.words import fixed, scientific

CLAIMS = CONFIGS / "paper" / "claims.yaml"

Outcome = Literal["reproduced", "contradicted", "inconclusive", "not_run"]
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
    #: The section of the page that shows what it is decided on, and what the ids of an architecture's rows start with.
    section: ClassVar[str] = "matrix"
    rows: ClassVar[str] = "row"
    #: Whether published numbers stand beside its verdicts.
    beside_paper: ClassVar[bool] = False

    id: str
    statement: str
    source: str
    threshold: Threshold

    @property
    def rule_in_words(self) -> str:
        """The decision rule as a sentence."""
        return self.words.format(threshold=self.threshold)

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
    return [verdict for claim in claims if claim.judged(experiment) for verdict in claim.decide(summary, experiment)]


def judge(low: float, high: float, margin: float) -> Outcome:
    """Whether an interval of a difference lies above ``+margin``, below ``-margin``, or neither.

    Example:
        >>> judge(1.2, 3.0, margin=1.0), judge(-4.0, -2.0, margin=1.0), judge(-1.0, 3.0, margin=1.0)
        ('reproduced', 'contradicted', 'inconclusive')
    """
    if low > margin:
        return "reproduced"
    return "contradicted" if high < -margin else "inconclusive"


def within(value: float, limit: float) -> Outcome:
    """Whether a value is at most ``limit``."""
    return "reproduced" if value <= limit else "contradicted"


def rows(summary: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows with a value whose columns are ``where``."""
    chosen = summary["value"].notna()
    for column, value in where.items():
        chosen &= summary[column] == value
    return summary[chosen]


def per_seed(summary: pd.DataFrame, **where: object) -> pd.Series:
    """The mean value of the rows of each seed."""
    return rows(summary, **where).groupby("seed")["value"].mean()
