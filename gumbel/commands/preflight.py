"""What can be known before GPU hours are spent."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_write
from gumbel.experiment.schema import Experiment
from gumbel.paths import ExperimentPaths


@command(
    experiment(),
    Argument(
        "--skip",
        nargs="*",
        action="extend",
        choices=["gpu", "data"],
        default=[],
        help="checks to leave out: gpu on a machine without one, data before it is downloaded (default: none)",
    ),
    file_to_write(help="also write the results of the checks (JSON)"),
)
def doctor(experiment: Experiment, skip: list[str], output: Path | None) -> None:
    """Check the environment, the data and every model before GPU hours are spent.

    It ends with the hours and the memory that the trainings will need.

    Examples:
      python -m gumbel doctor --experiment lvis
      python -m gumbel doctor --experiment lvis --skip gpu --skip data
    """
    from gumbel.preflight.doctor import doctor

    doctor(experiment, output, skip)


@command(
    experiment(),
    Argument(
        "--only",
        nargs="+",
        default=[],
        metavar="ARCHITECTURE/MODE",
        help="rows to measure, such as mask_rcnn_r50/fp16, */bf16 or htc_r101/fp16+compile (default: all)",
    ),
    Argument("--batches", type=int, nargs="+", default=[4, 16], help="batch sizes to measure"),
    Argument("--seconds", type=float, default=60.0, help="time limit of a row"),
    Argument("--device", choices=["cuda", "cpu"], help="where to run (default: the GPU, if there is one)"),
    file_to_write(help="file to write (default: results/EXPERIMENT/trial.json, which the doctor reads)"),
)
def trial(
    experiment: Experiment, only: list[str], batches: list[int], seconds: float, device: str | None, output: Path | None
) -> None:
    """Measure the speed and memory of every architecture in every precision on this machine.

    Example:
      python -m gumbel trial --experiment lvis --only "mask_rcnn_r50/*"
    """
    from gumbel.preflight.trial import trial

    trial(experiment, output or ExperimentPaths(experiment.name).trial, only, batches, device, seconds)
