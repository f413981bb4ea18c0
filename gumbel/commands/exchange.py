"""Cells sent to others, and taken over from them."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_read
from gumbel.experiment.schema import Experiment


@command(
    file_to_read("cell", help="folder of the cell, results/EXPERIMENT/ARCHITECTURE/ACTIVATION/seedK"),
    Argument("--output", "-o", type=Path, writes=True, required=True, help="file to write, such as cell.tar.zst"),
    Argument("--weights", action="store_true", help="include the weights, so that others can predict with them"),
)
def pack(cell: Path, output: Path, weights: bool) -> None:
    """Pack a finished cell into one file for others.

    Example:
      python -m gumbel pack results/lvis/mask_rcnn_r50/gumbel/seed0 --output gumbel.tar.zst
    """
    from gumbel.exchange.pack import pack

    pack(cell, output, weights)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


@command(file_to_read("archive", nargs="+", help="files that `pack` wrote elsewhere"), experiment())
def unpack(archive: list[Path], experiment: Experiment) -> None:
    """Check cells that were trained elsewhere, and take them over.

    Example:
      python -m gumbel unpack gumbel.tar.zst --experiment lvis
    """
    from gumbel.exchange.unpack import unpack

    for folder in unpack(archive, experiment):
        print(f"{folder}: taken over")
