"""What the page shows, section by section."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import get_type_hints

from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.activation import Curves
from gumbel.report.page.sections.answer import Answer
from gumbel.report.page.sections.categories import CategoryTable
from gumbel.report.page.sections.claims import Claims
from gumbel.report.page.sections.deviations import Deviations
from gumbel.report.page.sections.distribution import Distribution
from gumbel.report.page.sections.errors import ErrorCosts
from gumbel.report.page.sections.figure import PaperFigure
from gumbel.report.page.sections.matrix import Matrix
from gumbel.report.page.sections.norms import Norms
from gumbel.report.page.sections.pictures import Pictures
from gumbel.report.page.sections.provenance import Provenance
from gumbel.report.page.sections.training import TrainingCurves


@dataclass(frozen=True)
class Content:
    """The sections, in the order of the page; how to rerun it all comes after them."""

    answer: Answer
    claims: Claims
    figure: PaperFigure
    matrix: Matrix
    norms: Norms
    distribution: Distribution
    activation: Curves
    categories: CategoryTable
    training: TrainingCurves
    pictures: Pictures
    errors: ErrorCosts
    deviations: Deviations
    provenance: Provenance

    def __iter__(self) -> Iterator[PageSection]:
        return (getattr(self, field.name) for field in fields(self))


def make(results: Results) -> Content:
    """Every section of an experiment's results."""
    return Content(**{name: section(results) for name, section in get_type_hints(Content).items()})
