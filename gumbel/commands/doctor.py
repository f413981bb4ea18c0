"""What can be known before GPU hours are spent."""

from pathlib import Path

from gumbel.commands.command import Argument, command, experiment, file_to_write
from gumbel.experiment.schema import Experiment


@command(
    experiment(),
    Argument(
        "--skip",
        nargs="*",
        action="extend",
        choices=["gpu", "data"],
        default=[],
        help="gpu: this machine has none; data: it is not there yet",
    ),
    file_to_write(help="also keep what was found (JSON)"),
)
def doctor(experiment: Experiment, skip: list[str], output: Path | None) -> None:
    """Check everything that can be known before GPU hours are spent."""
    from gumbel.preflight.doctor import doctor

    doctor(experiment, output, skip)
