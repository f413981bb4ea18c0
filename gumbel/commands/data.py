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
        help="compare the size of every image with its annotation, not only of a sample",
    ),
)
def data(experiment: Source, every_picture: bool) -> None:
    """Generate an experiment's data, or download, verify and link it.

    Data that is already there is verified and left where it is.

    Example:
      python -m gumbel data --experiment mini
    """
    matrix.data(experiment).provide(every_picture)


@command(
    file_to_read("annotations", help="training annotations, LVIS v1 JSON"),
    Argument("--images-per-category", type=int, required=True, help="number of images that each category keeps"),
    file_to_write(required=True, help="annotations to write, LVIS v1 JSON"),
)
def subset(annotations: Path, images_per_category: int, output: Path) -> None:
    """Write annotations of a part of the training images.

    Every category stays in its frequency group: rare and common categories lose nothing.

    Example:
      python -m gumbel subset data/lvis_v1/train.json --images-per-category 101 \\
          --output data/lvis_v1/train_101_per_category.json
    """
    from gumbel.datasets.subset import write_subset

    counts = write_subset(annotations, images_per_category, output)
    print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


@command(Argument("name", nargs="*", help="entries of configs/models/backbones.yaml (default: all)"))
def backbones(name: list[str]) -> None:
    """Download and verify the ImageNet weights that trainings start from.

    They are written to data/backbones.

    Example:
      python -m gumbel backbones resnet50-0676ba61
    """
    from gumbel.datasets.backbones import backbones, provide

    known = backbones()
    if unknown := set(name) - set(known):
        raise ValueError(f"expected names among {', '.join(known)}; found {', '.join(unknown)}")
    for each in name or known:
        provide(known[each])


@command(Argument("url", nargs="+", help="URL of the weights, as under `checkpoints` in an experiment"))
def weights(url: list[str]) -> None:
    """Download published weights of a detector to data/weights.

    The SHA-256 of the first download is kept; a different file is refused later.

    Example:
      python -m gumbel weights https://example.org/gumbel_r50.pth
    """
    from gumbel.datasets.weights import provide

    for each in url:
        provide(each)
