"""What every cell is trained with, and how that differs from the released code."""

from gumbel.commands.command import Argument, command, experiment
from gumbel.experiment.schema import Experiment


@command(experiment())
def configs(experiment: Experiment) -> None:
    """Write the resolved configuration of every training."""
    from gumbel.detection import recipe
    from gumbel.detection.compose import write_configs
    from gumbel.jobs.files import write_json
    from gumbel.paths import ExperimentPaths

    write_configs(experiment)
    write_json(ExperimentPaths(experiment.name).recipe, recipe.as_record(recipe.compare(experiment)))


@command(
    Argument(
        "--diff", action="store_true", help="compare with the released one; status 1 if a deviation has no reason"
    ),
    experiment(default="lvis"),
)
def recipe(diff: bool, experiment: Experiment) -> None:
    """Print the resolved recipe of every cell."""
    from gumbel.detection import recipe

    compared = recipe.compare(experiment)
    if not diff:
        print(recipe.listing(compared))
        return
    text, unnamed = recipe.as_text(compared)
    print(text)
    if unnamed:
        raise ValueError(
            f"expected a named reason for every deviation, found {unnamed} without one; correct the experiment, or "
            "name them in configs/paper/deviations.yaml"
        )
