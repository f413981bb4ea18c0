"""The cheap estimate: the classification layer alone, trained on stored features."""

from pathlib import Path

from gumbel.commands.command import Argument, command, experiment, file_to_read, file_to_write
from gumbel.experiment.schema import Experiment


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


@command(experiment(), file_to_write(help="also write the figures (CSV)"))
def head_only_order(experiment: Experiment, output: Path | None) -> None:
    """Print the figures of head-only beside those of full training."""
    from gumbel.jobs.files import atomic_path
    from gumbel.report.head_only import as_text, figures

    table = figures(experiment)
    if output:
        with atomic_path(output) as temporary:
            table.to_csv(temporary, index=False)
    print(as_text(table, experiment))
