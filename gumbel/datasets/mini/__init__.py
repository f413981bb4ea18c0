"""The embedded data: scenes of emoji, annotated as LVIS v1 is. ``docs/data.md`` describes it."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from gumbel.datasets import DataSet
from gumbel.section import Section

SPLITS = ("train", "val", "val_uniform", "warm_start")


class MiniData(Section):
    """The embedded data, generated from emoji by eight artists."""

    seed: int = Field(0, ge=0, description="seed of every random choice; the same seed gives the same bytes")
    image_size: int = Field(128, ge=32, description="side of the square scenes in pixels")
    categories: int = Field(24, ge=6, description="LVIS categories of train and val, split r/c/f in LVIS's proportions")
    drawings: int = Field(
        8,
        ge=1,
        le=8,
        description="drawings that a category has at most, one an artist; 1: OpenMoji's alone, which need no npm",
    )
    imbalance: float | None = Field(
        None,
        ge=1,
        description="training images of the most frequent category over those of the rarest: one geometric tail of as "
        "many objects whatever its slope, over categories of any group in LVIS, and a balanced `val`; null: a tail "
        "for each of LVIS's groups",
    )
    train_images: int = Field(310, ge=1, description="images of `train`")
    val_images: int = Field(100, ge=1, description="images of `val`, and of `val_uniform`")
    warm_start_images: int = Field(400, ge=0, description="images of `warm_start`: balanced scenes of other things")
    warm_start_categories: int = Field(
        24, ge=0, description="things shown in `warm_start`, none of them a category of train"
    )


class Mini(DataSet):
    """Generated where it is needed."""

    Settings = MiniData
    label = "mini (generated)"
    notice = "This page demonstrates the pipeline on generated pictures. It does not reproduce the paper."
    on_submit_host = True
    generated = True
    note = "`val_uniform` places objects anywhere, where the other splits give every category its favourite place."
    settings: MiniData

    @property
    def splits(self) -> tuple[str, ...]:
        return SPLITS

    @property
    def record(self) -> Path:
        return self.root / "checksums.json"

    def provide(self, every_picture: bool = False) -> None:
        from gumbel.datasets.mini.generate import generate

        generate(self.settings, self.root)

    def classes(self, split: str) -> int:
        return self.settings.warm_start_categories if split == "warm_start" else self.settings.categories

    def size(self, split: str) -> int:
        sizes = {"train": self.settings.train_images, "warm_start": self.settings.warm_start_images}
        return sizes.get(split, self.settings.val_images)

    def digests(self) -> Iterator[tuple[Path, str]]:
        for name, digest in json.loads(self.record.read_text())["files"].items():
            yield self.root / name, digest


DATA_SET = Mini
