"""The activations themselves."""

from dataclasses import dataclass

from gumbel import activations
from gumbel.report.drawing import diagrams
from gumbel.report.drawing.figures import Figure
from gumbel.report.page.results import Figures, PageSection, Results
from gumbel.words import activation_name


@dataclass(frozen=True)
class Curves(PageSection):
    """Curves of the activations' scores, losses and gradients.

    ``options``: of each activation whose loss has some, its name, what is drawn of the others, and what is trained.
    ``competing``: names of those that are drawn against another category. ``left_out``: of those without curves.
    """

    curves: list[Figure]
    options: list[tuple[str, str, str]]
    competing: list[str]
    left_out: list[str]

    title = "Activations"

    @property
    def figures(self) -> Figures:
        return {"activation": self.curves}


def make(results: Results) -> Curves:
    experiment = results.experiment
    known = [activations.get(name) for name in experiment.activations]
    options = []
    for one in known:
        defaults = {option: values[0] for option, values in one.options.items()}
        if one.options and one.loss is not None:
            trained = defaults | experiment.options.get(one.name, {})
            options.append((activation_name(one.name), one.note, " ".join(trained.values())))
    return Curves(
        diagrams.activation_figures(experiment.activations),
        options,
        [activation_name(one.name) for one in known if one.competing and one.loss is not None],
        [activation_name(one.name) for one in known if one.loss is None],
    )
