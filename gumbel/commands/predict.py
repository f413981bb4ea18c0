"""Detections of a trained cell."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read, file_to_write


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    Argument("--split", required=True, help="split to predict"),
    Argument("--scoring", default="matched", choices=["matched", "released"]),
    file_to_write(required=True),
)
def predict(config: Path, checkpoint: Path, split: str, scoring: str, output: Path) -> None:
    """Write the detections of a trained cell."""
    from gumbel.detection.predict import predict

    predict(config, checkpoint, split, scoring, output)
