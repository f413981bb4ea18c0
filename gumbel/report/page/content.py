"""What the page shows, section by section."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from gumbel.report.page.results import Results, Section
from gumbel.report.page.sections import (
    activation,
    categories,
    claims,
    deviations,
    distribution,
    errors,
    figure,
    matrix,
    norms,
    pictures,
    provenance,
    training,
)


@dataclass(frozen=True)
class Content:
    """The sections, in the order of the page; how to rerun it all comes after them."""

    claims: claims.Claims
    figure: figure.PaperFigure
    matrix: matrix.Matrix
    norms: norms.Norms
    distribution: distribution.Distribution
    activation: activation.Curves
    categories: categories.Categories
    training: training.Training
    pictures: pictures.Pictures
    errors: errors.Errors
    deviations: deviations.Deviations
    provenance: provenance.Provenance

    def __iter__(self) -> Iterator[Section]:
        return (getattr(self, field.name) for field in fields(self))


def make(results: Results) -> Content:
    """Every section, made by its module."""
    return Content(
        claims=claims.make(results),
        figure=figure.make(results),
        matrix=matrix.make(results),
        norms=norms.make(results),
        distribution=distribution.make(results),
        activation=activation.make(results),
        categories=categories.make(results),
        training=training.make(results),
        pictures=pictures.make(results),
        errors=errors.make(results),
        deviations=deviations.make(results),
        provenance=provenance.make(results),
    )
