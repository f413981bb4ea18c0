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
        help="gpu: this machine has none; data: it is not there yet",
    ),
    file_to_write(help="also keep what was found (JSON)"),
)
def doctor(experiment: Experiment, skip: list[str], output: Path | None) -> None:
    """Check everything that can be known before GPU hours are spent."""
    from gumbel.preflight.doctor import doctor

    doctor(experiment, output, skip)


@command(
    experiment(),
    Argument(
        "--only",
        nargs="+",
        default=[],
        metavar="ARCHITECTURE/MODE",
        help="rows to try, such as mask_rcnn_r50/fp16, */bf16 or htc_r101/fp16+compile (default: all)",
    ),
    Argument("--batches", type=int, nargs="+", default=[4, 16], help="images of a step (default: 4 16)"),
    Argument("--seconds", type=float, default=60.0, help="that a row takes at most (default: 60)"),
    Argument("--device", choices=["cuda", "cpu"], help="default: a GPU where there is one"),
    file_to_write(help="default: results/EXPERIMENT/trial.json, which the doctor reads"),
)
def trial(
    experiment: Experiment, only: list[str], batches: list[int], seconds: float, device: str | None, output: Path | None
) -> None:
    """Measure step, memory and prediction of every architecture in every precision on this machine."""
    from gumbel.preflight.trial import trial

    trial(experiment, output or ExperimentPaths(experiment.name).trial, only, batches, device, seconds)
