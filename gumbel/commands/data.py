"""Where data comes from: the embedded scenes, LVIS, and the ImageNet weights that trainings start from."""

from pathlib import Path

from gumbel.commands.command import Argument, command, experiment, file_to_read, file_to_write
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment


@command(Argument("dataset", choices=["mini", "lvis"]), experiment())
def data(dataset: str, experiment: Experiment) -> None:
    """Generate the embedded data, or download, verify and link LVIS."""
    if dataset == "lvis":
        from gumbel.datasets.lvis_v1 import provide as lvis

        if experiment.dataset != "lvis_v1":
            raise ValueError(f"expected dataset lvis_v1 in experiment {experiment.name}, found {experiment.dataset}")
        lvis.provide(experiment.data_root, matrix.data(experiment), lvis.facts())
        return
    from gumbel.datasets.mini import generate as mini

    if experiment.mini is None:
        raise ValueError(f"expected a `mini` section in experiment {experiment.name}, found none")
    mini.generate(experiment.mini, experiment.data_root)


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
