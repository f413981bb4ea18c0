"""Weights of a cell: trained, or taken over."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read


@command(
    file_to_read("config", help="a resolved configuration; results go beside it"),
    Argument("--wait", action="store_true", help="wait for a process that trains it already, then go on"),
)
def train(config: Path, wait: bool) -> None:
    """Train one configuration, or go on with it."""
    from gumbel.detection.train import train

    train(config, wait)


@command(
    file_to_read("config", help="the cell's resolved configuration; results go beside it"),
    file_to_read("--checkpoint", required=True, help="weights trained elsewhere"),
)
def convert(config: Path, checkpoint: Path) -> None:
    """Take over a cell's weights from mmdet 2.x or 3.x: nothing is trained."""
    from gumbel.detection.convert import convert

    convert(checkpoint, config)
