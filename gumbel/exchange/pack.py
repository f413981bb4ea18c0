"""A finished cell as one file to send."""

from pathlib import Path

from gumbel.exchange import archive
from gumbel.exchange.cell import Wanted
from gumbel.experiment import matrix
from gumbel.jobs import manifest
from gumbel.paths import ExperimentPaths


def pack(folder: Path, output: Path, weights: bool) -> None:
    """Pack the cell of ``folder``; what follows from the rest is left out, for who unpacks it to make anew.

    Raises:
        ValueError: it is no cell's folder, the cell is not finished, or this checkout would train it otherwise.
    """
    top, *parts = folder.parts
    if top != "results" or len(parts) != 4:
        raise ValueError(f"expected results/EXPERIMENT/ARCHITECTURE/ACTIVATION/seedK, found {folder}; name it so")
    experiment = matrix.load(ExperimentPaths(parts[0]).experiment)
    wanted = Wanted(experiment, matrix.cell(experiment, parts[1], parts[2], parts[3].removeprefix("seed")))
    names = [*wanted.files, *(wanted.weights if weights else [])]
    if missing := [name for name in names if not (folder / name).exists()]:
        raise ValueError(f"expected a finished cell in {folder}, found it without {', '.join(missing)}; finish it")
    wanted.training(manifest.read(wanted.paths.manifest), str(folder))
    about = dict(experiment=experiment.name, cell=str(wanted.cell), configuration=wanted.configuration)
    archive.write(output, folder, names, **about)
