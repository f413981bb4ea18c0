"""The activations themselves."""

from gumbel import activations
from gumbel.report.drawing import diagrams
from gumbel.report.page.results import PageSection, Results
from gumbel.words import activation_name


class Curves(PageSection):
    """Curves of the activations' scores, losses and gradients.

    ``options``: of each activation whose loss has some, its name, what is drawn of the others, and what is trained.
    ``competing``: names of those that are drawn against another category. ``left_out``: of those without curves.
    """

    title = "Activations"

    def __init__(self, results: Results):
        names, chosen = results.experiment.activations, results.experiment.options
        known = [activations.get(name) for name in names]
        drawn = [one for one in known if one.loss is not None]
        self.figures = {"activation": diagrams.activation_figures(names)}
        self.options = []
        for one in drawn:
            if one.options:
                defaults = {option: values[0] for option, values in one.options.items()}
                trained = defaults | chosen.get(one.name, {})
                self.options.append((activation_name(one.name), one.note, " ".join(trained.values())))
        self.competing = [activation_name(one.name) for one in drawn if one.competing]
        self.left_out = [activation_name(one.name) for one in known if one.loss is None]
