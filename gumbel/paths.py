"""Every path that a stage reads or writes, relative to the working directory.

Nothing else in the project spells out a path. ``docs/outputs.md`` describes each file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The checkout: ``configs/`` and ``workflow/`` lie beside the package.
REPOSITORY = Path(__file__).resolve().parents[1]
CONFIGS = REPOSITORY / "configs"
TEMPLATES = REPOSITORY / "reports" / "templates"

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

    @classmethod
    def with_report(cls) -> list["StudyPaths"]:
        found = sorted(INDEX.parent.glob("study-*/study.html"))
        return [cls(report.parent.name.removeprefix("study-")) for report in found]

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
