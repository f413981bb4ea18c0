"""LVIS v1 (https://www.lvisdataset.org): found, downloaded, verified, and linked to where stages read it."""

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml

from gumbel.datasets import DataSet
from gumbel.datasets.published import Download
from gumbel.paths import CONFIGS, DATA
from gumbel.section import Section

#: What a whole copy holds, and its categories.
FACTS, CATEGORIES = CONFIGS / "datasets" / "lvis_v1.yaml", CONFIGS / "paper" / "lvis_v1_categories.csv"


class Size(Section):
    """How many images and annotations a split has."""

    images: int
    annotations: int


class Archive(Download):
    """A zip archive of ``files`` files, all of them in the folder ``member``, or of the one file ``member``."""

    file: str
    member: str
    files: int
    unpacked: int


class Facts(Section):
    """What a whole LVIS v1 is. ``categories`` are rows of configs/paper/lvis_v1_categories.csv, in the order of ids."""

    splits: dict[str, Size]
    annotated_images: int
    archives: list[Archive]
    attribution: str
    categories: list[dict[str, str]]


@cache
def published() -> Facts:
    """LVIS v1 as published."""
    with CATEGORIES.open(newline="") as file:
        categories = sorted(csv.DictReader(file), key=lambda row: int(row["id"]))
    return Facts(categories=categories, **yaml.safe_load(FACTS.read_text()))


class LVIS(DataSet):
    """A copy in ``data_root``, which may be elsewhere and read-only; what it lacks is downloaded into it."""

    label = "LVIS v1"
    facts = (FACTS, CATEGORIES)
    on_submit_host = True

    @staticmethod
    def folder(experiment: str, source: Path) -> Path:
        return DATA / "lvis_v1"

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(published().splits)

    def provide(self) -> None:
        from gumbel.datasets.lvis_v1.provide import provide

        provide(self.source, self, published())

    def classes(self, split: str) -> int:
        return len(published().categories)

    def size(self, split: str) -> int:
        return published().splits[split].images

    def digests(self) -> Iterator[tuple[Path, str]]:
        for split, seen in json.loads(self.record.read_text())["annotations"].items():
            yield self.annotations(split), seen["sha256"]

    @property
    def epoch(self) -> int | None:
        return None  # with repeat-factor sampling it is longer

    @property
    def image_shares(self) -> list[float]:
        return [int(row["image_count"]) / published().annotated_images for row in published().categories]

    def problems(self) -> Iterator[str]:
        """Files where links belong: Snakemake would remove them to have the links made."""
        for split in self.splits:
            link = self.annotations(split)
            if link.exists() and not link.is_symlink():
                yield f"data_root: expected at most a link at {link}; found a file. Name it lvis_v1_{split}.json"


DATA_SET = LVIS
