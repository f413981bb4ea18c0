"""Detectors: configured, compared with the released ones, trained or taken over, and what they predict."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_read, file_to_write
from gumbel.experiment.schema import Experiment


@command(
    experiment(),
    Argument("--only", type=Path, nargs="+", default=[], help="configurations to write (default: all)"),
)
def configs(experiment: Experiment, only: list[Path]) -> None:
    """Write the resolved configuration of every training.

    Example:
      python -m gumbel configs --experiment mini
    """
    from gumbel.detection.compose import write_configs

    write_configs(experiment, only)


@command(
    Argument(
        "--diff",
        action="store_true",
        help="list the differences from the released recipe; exit with 1 if one has no reason",
    ),
    experiment(default="lvis"),
    file_to_write(help="also write the differences and their reasons (JSON)"),
)
def recipe(diff: bool, experiment: Experiment, output: Path | None) -> None:
    """Print the recipe of every cell, or how it differs from the released one.

    Example:
      python -m gumbel recipe --experiment lvis --diff
    """
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
    file_to_read("config", help="a resolved configuration, as `configs` writes it; results go beside it"),
    Argument("--wait", action="store_true", help="if another process is training it, wait for that one first"),
)
def train(config: Path, wait: bool) -> None:
    """Train one configuration, or resume it.

    Example:
      python -m gumbel train results/mini/mask_rcnn_r50/gumbel/seed0/config.py
    """
    from gumbel.detection.train import train

    train(config, wait)


@command(
    file_to_read("config", help="the cell's resolved configuration; results go beside it"),
    file_to_read("--checkpoint", required=True, help="weights trained elsewhere"),
)
def convert(config: Path, checkpoint: Path) -> None:
    """Use weights from mmdet 2.x or 3.x for a cell instead of training it.

    Example:
      python -m gumbel convert results/lvis/mask_rcnn_r50/gumbel/seed0/config.py \\
          --checkpoint weights/gumbel_r50_4x4_1x.pth
    """
    from gumbel.detection.convert import convert

    convert(checkpoint, config)


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    file_to_write(
        nargs="+",
        required=True,
        metavar="SPLIT/SCORING.parquet",
        help="files to write: the split names the images, the scoring is matched or released; the folder is free",
    ),
)
def predict(config: Path, checkpoint: Path, output: list[Path]) -> None:
    """Write the detections of a trained cell, or resume writing them.

    Example:
      python -m gumbel predict CELL/config.py --checkpoint CELL/train/checkpoint.pth \\
          --output CELL/predictions/val/matched.parquet
    """
    from gumbel.detection.predict import predict

    predict(config, checkpoint, {(path.parent.name, path.stem): path for path in output})


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--checkpoint", required=True, help="its trained weights"),
    Argument("--images", type=int, required=True, help="maximum number of training images to read"),
    Argument("--rois", type=int, help="RoIs to store per image and stage (default: the configuration's)"),
    file_to_write(required=True, help="features to write (Parquet)"),
)
def features(config: Path, checkpoint: Path, images: int, rois: int | None, output: Path) -> None:
    """Store the inputs of a trained cell's classification layer.

    `head-only` trains new classification layers on them.

    Example:
      python -m gumbel features CELL/config.py --checkpoint CELL/train/checkpoint.pth \\
          --images 20000 --output seed0.features.parquet
    """
    from gumbel.detection.head_only import store_features

    store_features(config, checkpoint, images, rois, output)


@command(
    file_to_read("config", help="the cell's resolved configuration"),
    file_to_read("--detector", required=True, help="weights of the detector that the features come from"),
    file_to_read("--features", required=True, help="the file that `features` wrote"),
    Argument("--folder", type=Path, required=True, help="folder for the results"),
)
def head_only(config: Path, detector: Path, features: Path, folder: Path) -> None:
    """Train only a cell's classification layer, on stored features.

    Example:
      python -m gumbel head-only CELL/config.py --detector DETECTOR/train/checkpoint.pth \\
          --features seed0.features.parquet --folder head_only
    """
    from gumbel.detection.head_only import train_head

    train_head(config, detector, features, folder)
