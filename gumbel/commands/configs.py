"""What every cell is trained with, and how that differs from the released code."""

from pathlib import Path

from gumbel.commands.command import Argument, command, experiment, file_to_write
from gumbel.experiment.schema import Experiment


@command(
    experiment(),
    Argument("--only", type=Path, nargs="+", default=[], help="the configurations of these paths (default: all)"),
)
def configs(experiment: Experiment, only: list[Path]) -> None:
    """Write the resolved configuration of every training."""
    from gumbel.detection.compose import write_configs

    write_configs(experiment, only)


@command(
    Argument(
        "--diff", action="store_true", help="compare with the released one; status 1 if a deviation has no reason"
    ),
    experiment(default="lvis"),
    file_to_write(help="also write what differs from the released one, and why (JSON)"),
)
def recipe(diff: bool, experiment: Experiment, output: Path | None) -> None:
    """Print the resolved recipe of every cell."""
    from gumbel.detection import recipe
    from gumbel.jobs.files import write_json

    compared = recipe.compare(experiment)
    if output:
        write_json(output, recipe.as_record(compared))
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
