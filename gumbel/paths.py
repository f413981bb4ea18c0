"""Every path that a stage reads or writes, relative to the working directory.

Nothing else in the project spells out a path. :data:`OUTPUTS` describes each file; the table in
``docs/outputs.md`` is generated from it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The checkout: ``configs/`` and ``workflow/`` lie beside the package.
REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"
TEMPLATES = REPOSITORY / "reports" / "templates"

#: One line a file: pattern, the stage that writes it, what it holds. ABBREVIATIONS lists what the first name of a
#: pattern may stand for.
OUTPUTS = (
    ("data/{dataset}/{split}.json", "data", "annotations of a split in the LVIS v1 format; of LVIS, a link to them"),
    ("data/{dataset}/.{split}.json.{digest}.arrow", "train", "a split as mmdet reads it, mapped into memory by trainings and predictions; may be deleted"),
    ("data/{dataset}/images/", "data", "pictures, named by the annotations' `coco_url`"),
    ("data/{dataset}/ATTRIBUTION.md", "data", "who made the pictures, and under which licence"),
    ("data/{dataset}/checksums.json", "data", "of mini: what it was generated from, and SHA-256 of its files and pixels"),
    ("data/{dataset}/verified.json", "data", "of LVIS: which files were verified, their SHA-256 and what was counted in them"),
    ("data/drawings/", "data", "of mini: the drawings that its scenes are made of, as npm unpacked them"),
    ("data/backbones/{name}.pth", "backbones", "ImageNet weights that trainings start from"),
    ("data/weights/{name}", "weights", "weights that an experiment names by URL, and their SHA-256 (.json)"),
    ("results/{experiment}/experiment.yaml", "(Snakemake)", "the experiment as it was resolved"),
    ("results/{experiment}/level.yaml", "study", "of a level of a study: the experiment, for Snakemake's `--configfile`"),
    ("results/{experiment}/recipe.json", "configs", "what the cells do otherwise than the released recipe, and why"),
    ("results/{experiment}/doctor.json", "doctor", "what was checked before the trainings, and what they are expected to cost"),
    ("results/{experiment}/trial.json", "trial", "what a step of each architecture costs on a machine's GPU, in each precision"),
    ("results/{experiment}/object_distribution.npz", "object-distribution", "probability of an object per class and grid cell"),
    ("results/{experiment}/head_only/{architecture}/seed{seed}.features.parquet", "features", "one row a RoI: what a frozen detector's classification layer is given; a row group is a batch"),
    ("results/{experiment}/head_only/order.csv", "head-only-order", "figures of full training, and of the classification layer alone"),
    ("results/{experiment}/summary.parquet", "collect", "one row a figure: cell, split, scoring, source, metric, value"),
    ("{training}/config.py", "configs", "the resolved mmengine configuration, headed by its length and command"),
    ("{training}/train/checkpoint.pth", "train", "trained weights only"),
    ("{training}/train/history.parquet", "train", "losses, accuracy, learning rate and time per iteration"),
    ("{training}/train/manifest.json", "train", "where and how it ran: host, versions, hashes, duration, resolved facts"),
    ("{training}/train/curves/", "train", "training curves for TensorBoard, and files of the other trackers"),
    ("{training}/work_dir/", "train", "checkpoints to resume from, attempts, and the finished training; Snakemake never removes it"),
    ("{training}/work_dir/lock", "train", "names the process that writes the training, while there is one"),
    ("{training}/status.json", "train", "state, iteration, loss, ETA, host and attempt of the running or finished training"),
    ("{cell}/predictions/{split}/{scoring}.parquet", "predict", "one row a detection"),
    ("{cell}/predictions/{split}/.{scoring}.parquet.{digest}/", "predict", "what an unfinished prediction goes on from"),
    ("{cell}/metrics/{split}/{scoring}.json", "evaluate", "LVIS AP and AR, unrounded, with the protocol"),
    ("{cell}/metrics/{split}/{scoring}.per_category.parquet", "evaluate", "AP per category"),
    ("{cell}/metrics/{split}/{scoring}.bootstrap.npz", "evaluate", "figures on resampled images, of the first split: behind every interval"),
    ("{cell}/errors/{split}/{scoring}.json", "evaluate", "types of error, score histogram and calibration, of the first split"),
    ("{cell}/over_training/{percent}/", "train", "`train/checkpoint.pth` at that share of the training, with its predictions and metrics"),
    ("{cell}/weight_norms.parquet", "weight-norms", "classifier weight norm per stage and category, with training counts"),
    ("{cell}/received.json", "unpack", "of a cell that was trained elsewhere: its archive, and what of it was computed anew"),
    ("{output_folder}/manifests/{output}.json", "(every stage)", "where and when the job of an output ran, from which files, with how much memory"),
    ("{folder}/logs/{stage}.log", "(Snakemake)", "what the stage printed"),
    ("{folder}/benchmarks/{stage}.tsv", "(Snakemake)", "time and memory of the stage"),
    ("reports/summary.html", "report", "the report of the experiment that was run last: a copy of its page"),
    ("reports/index.html", "report", "every experiment that has a report: what, when, verdicts, link"),
    ("reports/study-{study}/study.html", "study", "a study's page, from the levels that are there"),
    ("reports/study-{study}/exports/", "study", "its tables as CSV and Markdown, its figures as SVG"),
    ("reports/{experiment}/summary.html", "report", "the report, one self-contained page"),
    ("reports/{experiment}/exports/", "report", "tables as CSV, JSON, LaTeX and Markdown, figures as SVG and PDF, metafile.yml, RO-Crate"),
    ("reports/{experiment}/progress.html", "(Snakemake)", "how far every training is, while the workflow runs; also `status --html`"),
)  # fmt: skip

_CELL = "results/{experiment}/{architecture}/{activation}/seed{seed}"
_WARM_START = "results/{experiment}/warm_start/{architecture}"
_HEAD_ONLY = "results/{experiment}/head_only/{architecture}/{activation}/seed{seed}"
ABBREVIATIONS = {
    "cell": (_CELL, _HEAD_ONLY),
    "training": (_CELL, _HEAD_ONLY, _WARM_START),
    "folder": (_CELL, _HEAD_ONLY, _WARM_START, "results/{experiment}"),
}

#: The page of the experiment that was run last.
REPORT = Path("reports/summary.html")
#: The list of all experiments that have a page.
INDEX = Path("reports/index.html")

DATA = Path("data")

#: Drawings that embedded data is made of.
DRAWINGS = DATA / "drawings"


def backbone(name: str) -> Path:
    """ImageNet weights, by their name in configs/models/backbones.yaml."""
    return DATA / "backbones" / f"{name}.pth"


def given_weights(name: str) -> Path:
    """Weights of a cell that were downloaded from where somebody published them."""
    return DATA / "weights" / name


def job_manifest(output: Path) -> Path:
    """The record of the job that wrote ``output``."""
    return output.parent / "manifests" / f"{output.name}.json"


class File:
    """A path that has one place below the ``root`` of the object that it is an attribute of."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __get__(self, owner: Any, kind: object = None) -> Path:
        return Path(owner.root, self.place)


@dataclass(frozen=True)
class DataPaths:
    """Files of a dataset, as the stages read them."""

    root: Path

    images = File("images")
    attribution = File("ATTRIBUTION.md")
    checksums = File("checksums.json")
    verified = File("verified.json")

    def annotations(self, split: str) -> Path:
        return self.root / f"{split}.json"


@dataclass(frozen=True)
class JobPaths:
    """A folder of results, with what its jobs printed and took."""

    root: Path

    def log(self, stage: str) -> Path:
        return self.root / "logs" / f"{stage}.log"

    def benchmark(self, stage: str) -> Path:
        return self.root / "benchmarks" / f"{stage}.tsv"


class TrainingPaths(JobPaths):
    """Files of one training: a cell, or the warm start of an architecture."""

    config = File("config.py")
    work_dir = File("work_dir")
    lock = File("work_dir/lock")
    status = File("status.json")
    checkpoint = File("train/checkpoint.pth")
    curves = File("train/curves")
    history = File("train/history.parquet")
    manifest = File("train/manifest.json")


class CellPaths(TrainingPaths):
    """Files of a cell: those of its training, and what is derived from it."""

    weight_norms = File("weight_norms.parquet")
    received = File("received.json")

    def predictions(self, split: str, scoring: str) -> Path:
        return self.root / "predictions" / split / f"{scoring}.parquet"

    def metrics(self, split: str, scoring: str) -> Path:
        return self.root / "metrics" / split / f"{scoring}.json"

    def per_category(self, split: str, scoring: str) -> Path:
        return self.root / "metrics" / split / f"{scoring}.per_category.parquet"

    def bootstrap(self, split: str, scoring: str) -> Path:
        return self.root / "metrics" / split / f"{scoring}.bootstrap.npz"

    def errors(self, split: str, scoring: str) -> Path:
        return self.root / "errors" / split / f"{scoring}.json"

    def at(self, percent: int | str) -> "CellPaths":
        """Files of the cell as it was after ``percent`` of its training."""
        return CellPaths(self.root / "over_training" / str(percent))


class ExperimentPaths(JobPaths):
    """Files of the experiment called ``name``."""

    experiment = File("experiment.yaml")
    level = File("level.yaml")
    recipe = File("recipe.json")
    doctor = File("doctor.json")
    trial = File("trial.json")
    summary = File("summary.parquet")
    object_distribution = File("object_distribution.npz")
    head_only_order = File("head_only/order.csv")

    def __init__(self, name: str) -> None:
        super().__init__(Path("results") / name)

    @property
    def report(self) -> Path:
        return REPORT.parent / self.root.name / REPORT.name

    @property
    def exports(self) -> Path:
        return self.report.with_name("exports")

    @property
    def progress(self) -> Path:
        return self.report.with_name("progress.html")

    def warm_start(self, architecture: str) -> TrainingPaths:
        return TrainingPaths(self.root / "warm_start" / architecture)

    def head_only_features(self, architecture: str, seed: int | str) -> Path:
        return self.root / "head_only" / architecture / f"seed{seed}.features.parquet"

    def head_only(self, architecture: str, activation: str, seed: int | str) -> CellPaths:
        """What a cell has, of the frozen detector whose classification layer alone was trained."""
        return CellPaths(self.root / "head_only" / architecture / activation / f"seed{seed}")

    def cell(self, architecture: str, activation: str, seed: int | str) -> CellPaths:
        return CellPaths(self.root / architecture / activation / f"seed{seed}")


@dataclass(frozen=True)
class StudyPaths:
    """Files of the study called ``name``. No experiment has a name with a hyphen."""

    name: str

    @property
    def report(self) -> Path:
        return INDEX.with_name(f"study-{self.name}") / "study.html"

    @property
    def exports(self) -> Path:
        return self.report.with_name("exports")


def mapped(annotations: Path, digest: str) -> Path:
    """What trainings and predictions map into memory instead of reading ``annotations``."""
    return annotations.with_name(f".{annotations.name}.{digest}.arrow")


def parts(predictions: Path, digest: str) -> Path:
    """The folder of the finished parts of a file of predictions."""
    return predictions.with_name(f".{predictions.name}.{digest}")
