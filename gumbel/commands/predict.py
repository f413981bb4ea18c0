"""Detections of a trained cell."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    Argument(
        "--output",
        type=Path,
        nargs="+",
        required=True,
        writes=True,
        metavar="SPLIT/SCORING.parquet",
        help="the split to predict, and matched or released; any folder before them",
    ),
)
def predict(config: Path, checkpoint: Path, output: list[Path]) -> None:
    """Write the detections of a trained cell, or go on with it."""
    from gumbel.detection.predict import predict

    predict(config, checkpoint, {(path.parent.name, path.stem): path for path in output})
