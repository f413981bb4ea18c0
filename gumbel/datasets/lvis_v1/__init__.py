"""LVIS v1 (https://www.lvisdataset.org): found, downloaded, verified, and linked to where stages read it."""

import csv
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from pydantic import Field

from gumbel.datasets import DataSet
from gumbel.datasets.published import Download
from gumbel.paths import CONFIGS, DATA
from gumbel.section import Section

#: The split that the user's list of images adds.
MINIVAL = "minival"
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
def listed(images: Path) -> frozenset[int]:
    """Ids of the images that a JSON file lists, or that it has annotations of.

    Raises:
        ValueError: the file lists none, or something else.
    """
    try:
        record = json.loads(images.read_text())
        found = [entry["id"] for entry in record["images"]] if isinstance(record, dict) else record
        if not found or any(type(each) is not int for each in found):
            raise ValueError(f"found {str(found)[:60]}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a JSON list of ids of images in {images}, or annotations with `images`; {error}"
        ) from None
    return frozenset(found)


@cache
def published() -> Facts:
    """LVIS v1 as published."""
    with CATEGORIES.open(newline="") as file:
        categories = sorted(csv.DictReader(file), key=lambda row: int(row["id"]))
    return Facts(categories=categories, **yaml.safe_load(FACTS.read_text()))


class LVISData(Section):
    """LVIS v1."""

    minival: Path | None = Field(
        None,
        description="adds the split `minival`: the images of val that this file lists, as ids (JSON) or as annotations",
    )


class LVIS(DataSet):
    """A copy in ``data_root``, which may be elsewhere and read-only; what it lacks is downloaded into it."""

    Settings = LVISData
    label = "LVIS v1"
    settings: LVISData
    facts = (FACTS, CATEGORIES)
    on_submit_host = True

    @staticmethod
    def folder(experiment: str, source: Path) -> Path:
        return DATA / "lvis_v1"

    @property
    def splits(self) -> tuple[str, ...]:
        return (*published().splits, *([MINIVAL] if self.settings.minival else []))

    @property
    def inputs(self) -> tuple[Path, ...]:
        return (self.settings.minival,) if self.settings.minival else ()

    def provide(self, every_picture: bool = False) -> None:
        from gumbel.datasets.lvis_v1.provide import provide

        minival = listed(self.settings.minival) if self.settings.minival else None
        provide(self.source, self, published(), minival=minival, every_picture=every_picture)

    def classes(self, split: str) -> int:
        return len(published().categories)

    def size(self, split: str) -> int:
        return len(listed(self.inputs[0])) if split == MINIVAL else published().splits[split].images

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
        for path in self.inputs:
            if not path.is_file():
                yield f"data.minival: expected a file that lists images of val; found none at {path}"
        for split in published().splits:
            link = self.annotations(split)
            if link.exists() and not link.is_symlink():
                yield f"data_root: expected at most a link at {link}; found a file. Name it lvis_v1_{split}.json"


DATA_SET = LVIS
