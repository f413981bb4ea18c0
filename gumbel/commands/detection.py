"""Detectors: configured, compared with the released ones, trained or taken over, and what they predict."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_read, file_to_write
from gumbel.experiment.schema import Experiment


@command(
    experiment(),
    Argument("--only", type=Path, nargs="+", default=[], help="the configurations of these paths (default: all)"),
)
def configs(experiment: Experiment, only: list[Path]) -> None:
    """Write the resolved configuration of every training."""
    from gumbel.detection.compose import write_configs

    write_configs(experiment, only)


@command(
    Argument(
        "--diff", action="store_true", help="compare with the released one; status 1 if a deviation has no reason"
    ),
    experiment(default="lvis"),
    file_to_write(help="also write what differs from the released one, and why (JSON)"),
)
def recipe(diff: bool, experiment: Experiment, output: Path | None) -> None:
    """Print the resolved recipe of every cell."""
    from gumbel.detection import recipe
    from gumbel.jobs.files import write_json

    compared = recipe.compare(experiment)
    if output:
        write_json(output, recipe.as_record(compared))
    if not diff:
        print(recipe.listing(compared))
        return
    text, unnamed = recipe.as_text(compared)
    print(text)
    if unnamed:
        raise ValueError(
            f"expected a named reason for every deviation, found {unnamed} without one; correct the experiment, or "
            "name them in configs/paper/deviations.yaml"
        )


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


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    file_to_write(
        nargs="+",
        required=True,
        metavar="SPLIT/SCORING.parquet",
        help="the split to predict, and matched or released; any folder before them",
    ),
)
def predict(config: Path, checkpoint: Path, output: list[Path]) -> None:
    """Write the detections of a trained cell, or go on with it."""
    from gumbel.detection.predict import predict

    predict(config, checkpoint, {(path.parent.name, path.stem): path for path in output})


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    Argument("--images", type=int, required=True, help="training images to read, at most"),
    Argument("--rois", type=int, help="RoIs stored per image and stage; default: the configuration's"),
    file_to_write(required=True),
)
def features(config: Path, checkpoint: Path, images: int, rois: int | None, output: Path) -> None:
    """Store what a trained cell's classification layer is given."""
    from gumbel.detection.head_only import store_features

    store_features(config, checkpoint, images, rois, output)


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--detector", required=True, help="weights that the features were stored with"),
    file_to_read("--features", required=True, help="what `features` wrote"),
    Argument("--folder", type=Path, required=True, help="where the results go"),
)
def head_only(config: Path, detector: Path, features: Path, folder: Path) -> None:
    """Train a cell's classification layer on stored features."""
    from gumbel.detection.head_only import train_head

    train_head(config, detector, features, folder)
