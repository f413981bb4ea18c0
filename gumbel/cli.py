"""``python -m gumbel``: one subcommand per stage."""

import argparse
import sys
import traceback
from pathlib import Path

from gumbel import stages
from gumbel.jobs import manifest
from gumbel.jobs.files import write_json
from gumbel.paths import CONFIGS, job_manifest

#: Options that name a file to write.
OUTPUT_OPTIONS = ("output", "per_category", "bootstrap", "errors")


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; a mistake ends with the line ``gumbel STAGE: message`` and status 1."""
    options = _parser().parse_args(arguments)
    job = manifest.Job()
    try:
        options.run(options)
        if output := getattr(options, "output", None):
            write_json(job_manifest(output), job.record(inputs=_inputs(options)))
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        sys.exit(f"gumbel {options.stage}: {_message(error)}")
    except Exception as error:
        # Unforeseen: all of it for who mends it, and the line by which `status` knows a failed job's log
        traceback.print_exc()
        sys.exit(f"gumbel {options.stage}: {type(error).__name__}: {error}")


def _inputs(options: argparse.Namespace) -> dict[str, str]:
    """SHA-256 of every file that the stage was given."""
    files = [value for name, value in vars(options).items() if isinstance(value, Path) and name not in OUTPUT_OPTIONS]
    return {str(path): manifest.sha256(path) for path in files if path.is_file()}


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return (
            f"expected to use {error.filename}, found: {error.strerror}; "
            "correct the path, or run the stage that writes the file (docs/outputs.md)"
        )
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gumbel", description=__doc__.partition("\n")[0])
    subparsers = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")

    stage = subparsers.add_parser("data", help="generate the embedded data; download, verify and link LVIS")
    stage.add_argument("dataset", choices=["mini", "lvis"])
    _experiment(stage)
    stage.set_defaults(run=stages.data)

    stage = subparsers.add_parser("subset", help="write the part of the training images that keeps the tail")
    stage.add_argument("annotations", type=Path, help="training annotations, LVIS v1 JSON")
    stage.add_argument("--images-per-category", type=int, required=True, help="images that each category keeps")
    _output(stage)
    stage.set_defaults(run=stages.subset)
    stage = subparsers.add_parser(
        "backbones", help="download and verify the ImageNet weights that trainings start from"
    )
    stage.add_argument("name", nargs="*", help="entries of configs/models/backbones.yaml (default: all)")
    stage.set_defaults(run=stages.backbones)

    stage = subparsers.add_parser("configs", help="write the resolved configuration of every training")
    _experiment(stage)
    stage.set_defaults(run=stages.configs)

    stage = subparsers.add_parser("recipe", help="the resolved recipe of every cell")
    stage.add_argument(
        "--diff", action="store_true", help="compare with the released one; status 1 if a deviation has no reason"
    )
    _experiment(stage, default=CONFIGS / "experiments" / "lvis.yaml")
    stage.set_defaults(run=stages.recipe)

    stage = subparsers.add_parser("doctor", help="check everything that can be known before GPU hours are spent")
    _experiment(stage)
    stage.add_argument(
        "--skip",
        nargs="*",
        action="extend",
        choices=["gpu", "data"],
        default=[],
        help="gpu: this machine has none; data: it is not there yet",
    )
    stage.add_argument("--output", type=Path, help="also keep what was found (JSON)")
    stage.set_defaults(run=stages.doctor)

    stage = subparsers.add_parser("train", help="train one configuration, or go on with it")
    stage.add_argument("config", type=Path, help="a resolved configuration; results go beside it")
    stage.add_argument("--wait", action="store_true", help="wait for a process that trains it already, then go on")
    stage.set_defaults(run=stages.train)

    stage = subparsers.add_parser(
        "convert", help="take over a cell's weights from mmdet 2.x or 3.x: nothing is trained"
    )
    stage.add_argument("config", type=Path, help="the cell's resolved configuration; results go beside it")
    stage.add_argument("--checkpoint", type=Path, required=True, help="weights trained elsewhere")
    stage.set_defaults(run=stages.convert)

    stage = subparsers.add_parser("features", help="store what a trained cell's classification layer is given")
    stage.add_argument("config", type=Path, help="the cell's resolved configuration")
    stage.add_argument("--checkpoint", type=Path, required=True, help="its trained weights")
    stage.add_argument("--images", type=int, required=True, help="training images to read, at most")
    stage.add_argument("--rois", type=int, help="RoIs stored per image and stage; default: the configuration's")
    _output(stage)
    stage.set_defaults(run=stages.features)

    stage = subparsers.add_parser("head-only", help="train a cell's classification layer on stored features")
    stage.add_argument("config", type=Path, help="the cell's resolved configuration")
    stage.add_argument("--detector", type=Path, required=True, help="weights that the features were stored with")
    stage.add_argument("--features", type=Path, required=True, help="what `features` wrote")
    stage.add_argument("--folder", type=Path, required=True, help="where the results go")
    stage.set_defaults(run=stages.head_only)

    stage = subparsers.add_parser("predict", help="write the detections of a trained cell")
    stage.add_argument("config", type=Path, help="the cell's resolved configuration")
    stage.add_argument("--checkpoint", type=Path, required=True, help="its trained weights")
    stage.add_argument("--split", required=True, help="split to predict")
    stage.add_argument("--scoring", default="matched", choices=["matched", "released"])
    _output(stage)
    stage.set_defaults(run=stages.predict)

    stage = subparsers.add_parser("evaluate", help="LVIS AP of detections, Parquet or official JSON")
    stage.add_argument("--annotations", type=Path, required=True, help="ground truth, LVIS v1 JSON")
    stage.add_argument("--predictions", type=Path, required=True, help="Parquet, or official JSON results")
    stage.add_argument("--iou-type", nargs="+", choices=["segm", "bbox", "boundary"], default=["segm", "bbox"])
    stage.add_argument("--images", type=Path, help="score these images alone: JSON ids, or LVIS minival's annotations")
    stage.add_argument(
        "--protocol",
        choices=["lvis", "fixed"],
        default="lvis",
        help="fixed: 10,000 detections a category (AP-fixed)",
    )
    stage.add_argument("--per-category", type=Path, help="also write the AP of each category (Parquet)")
    stage.add_argument("--backend", choices=["compiled", "official"], default="compiled")
    stage.add_argument(
        "--bootstrap", type=Path, help="also write every figure on resampled images (npz), for intervals"
    )
    stage.add_argument("--replicates", type=int, default=1000, help="bootstrap draws of the images")
    stage.add_argument("--seed", type=int, default=0, help="seed of the draws: the same for all that is compared")
    stage.add_argument("--errors", type=Path, help="also write types of error, score histogram and calibration (JSON)")
    _output(stage)
    stage.set_defaults(run=stages.evaluate)

    stage = subparsers.add_parser("compare", help="second detections minus first, with paired intervals")
    stage.add_argument("first", type=Path)
    stage.add_argument("second", type=Path)
    stage.add_argument("--annotations", type=Path, required=True, help="ground truth, LVIS v1 JSON")
    stage.add_argument("--iou-type", choices=["segm", "bbox", "boundary"], default="segm")
    stage.add_argument("--replicates", type=int, default=1000, help="bootstrap draws of the images")
    stage.set_defaults(run=stages.compare)

    stage = subparsers.add_parser("weight-norms", help="classifier weight norm of each category")
    stage.add_argument("checkpoint", type=Path)
    stage.add_argument("--annotations", type=Path, required=True, help="training annotations")
    stage.add_argument("--output", type=Path, help="also write the norm of each category (Parquet)")
    stage.set_defaults(run=stages.weight_norms)

    stage = subparsers.add_parser("object-distribution", help="probability of an object per class and place")
    stage.add_argument("annotations", type=Path)
    stage.add_argument("--grid", type=int, default=16, help="side of the normalised grid")
    stage.add_argument("--output", type=Path, help="also write the distribution of each category (npz)")
    stage.set_defaults(run=stages.object_distribution)

    stage = subparsers.add_parser("collect", help="gather every figure of an experiment in one table")
    _experiment(stage)
    _output(stage)
    stage.set_defaults(run=stages.collect)

    stage = subparsers.add_parser("report", help="decide the claims and render the page")
    _experiment(stage)
    _output(stage)
    stage.set_defaults(run=stages.report)

    stage = subparsers.add_parser("status", help="how far every training of an experiment is")
    _experiment(stage)
    stage.add_argument("--watch", action="store_true", help="show it again and again, until all is done or Ctrl-C")
    stage.add_argument("--html", action="store_true", help="write reports/progress.html instead")
    stage.set_defaults(run=stages.status)

    stage = subparsers.add_parser("headline", help="print the table of the finished cells")
    _experiment(stage)
    stage.set_defaults(run=stages.headline)

    stage = subparsers.add_parser(
        "head-only-order", help="print the figures of head-only beside those of full training"
    )
    _experiment(stage)
    stage.add_argument("--output", type=Path, help="also write the figures (CSV)")
    stage.set_defaults(run=stages.head_only_order)
    return parser


def _experiment(stage: argparse.ArgumentParser, default: Path | None = None) -> None:
    words = "experiment: a file (YAML), or a name in configs/experiments"
    words += f"; {default.stem} if not given" if default else ""
    stage.add_argument("--experiment", type=_experiment_file, required=default is None, default=default, help=words)


def _experiment_file(text: str) -> Path:
    """The file of an experiment that was given as a path or by its name."""
    named = CONFIGS / "experiments" / f"{text}.yaml"
    return named if named.exists() and not Path(text).is_file() else Path(text)


def _output(stage: argparse.ArgumentParser) -> None:
    stage.add_argument("--output", type=Path, required=True)
