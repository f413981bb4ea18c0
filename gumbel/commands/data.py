"""Where data comes from: that of an experiment, and the ImageNet weights that trainings start from."""

from pathlib import Path

from gumbel.commands import Argument, command, file_to_read, file_to_write, source
from gumbel.experiment import matrix
from gumbel.experiment.schema import Source


@command(
    source(),
    Argument(
        "--every-picture",
        action="store_true",
        help="compare the size of all pictures with the annotations, not of some",
    ),
)
def data(experiment: Source, every_picture: bool) -> None:
    """Provide an experiment's data: generate it, or download, verify and link it."""
    matrix.data(experiment).provide(every_picture)


@command(
    file_to_read("annotations", help="training annotations, LVIS v1 JSON"),
    Argument("--images-per-category", type=int, required=True, help="images that each category keeps"),
    file_to_write(required=True),
)
def subset(annotations: Path, images_per_category: int, output: Path) -> None:
    """Write the part of the training images that keeps the tail."""
    from gumbel.datasets.subset import write_subset

    counts = write_subset(annotations, images_per_category, output)
    print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


@command(Argument("name", nargs="*", help="entries of configs/models/backbones.yaml (default: all)"))
def backbones(name: list[str]) -> None:
    """Download and verify the ImageNet weights that trainings start from."""
    from gumbel.datasets.backbones import backbones, provide

    known = backbones()
    if unknown := set(name) - set(known):
        raise ValueError(f"expected names among {', '.join(known)}; found {', '.join(unknown)}")
    for each in name or known:
        provide(known[each])


@command(Argument("url", nargs="+", help="as under `checkpoints` of an experiment"))
def weights(url: list[str]) -> None:
    """Download weights that somebody published; the SHA-256 of the first download is kept and checked."""
    from gumbel.datasets.weights import provide

    for each in url:
        provide(each)
