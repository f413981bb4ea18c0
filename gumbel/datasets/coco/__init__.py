"""Your own data: any annotations in COCO's form with their images. ``docs/how-to/add-a-data-set.md`` describes it."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gumbel.datasets import DataSet
from gumbel.paths import DATA
from gumbel.section import Section

Side = Annotated[int, Field(ge=1)]
Size = tuple[Side, Side]


class Files(Section):
    """A split: relative paths are below `data_root`."""

    annotations: Path = Field(description="annotations in COCO's form (JSON)")
    images: Path = Field(description="folder that the annotations' `file_name` starts from")


class CocoData(Section):
    """Your own data."""

    splits: dict[str, Files] = Field(description="`train`, and every split that is predicted")
    rare: int = Field(10, ge=1, description="training images up to which a category is rare")
    common: int = Field(100, ge=1, description="training images up to which a category that is not rare is common")
    crowds: Literal["refused", "not_exhaustive"] = Field(
        "refused",
        description="`iscrowd` regions are an error, or are no objects, and unmatched detections of their category in "
        "their image count nothing, as LVIS has it where not every object is annotated",
    )
    train_sizes: list[Size] = Field(
        [(1333, side) for side in range(640, 801, 32)],
        min_length=1,
        description="longest and shortest side, in pixels, that training images are resized to, one drawn each time",
    )
    test_size: Size = Field((1333, 800), description="longest and shortest side that images are predicted at")

    @model_validator(mode="after")
    def _consistent(self) -> "CocoData":
        if "train" not in self.splits:
            raise ValueError(f"`data.splits`: expected `train` among them, found {', '.join(self.splits)}; add it")
        if unfit := [name for name in self.splits if not re.fullmatch(r"[\w-]+", name)]:
            raise ValueError(f"`data.splits`: expected names of letters, digits, _ and -, found {unfit}; rename them")
        if self.common <= self.rare:
            raise ValueError(f"`data.common`: expected more than `rare` = {self.rare}, found {self.common}; raise it")
        return self


class Coco(DataSet):
    """Written once in the LVIS v1 form, in a folder of the experiment's own; the images stay where they are."""

    Settings = CocoData
    label = "own data"
    settings: CocoData

    @staticmethod
    def folder(experiment: str, source: Path) -> Path:
        return DATA / "coco" / experiment

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.settings.splits)

    def given(self, split: str) -> Files:
        """Where the user has the split."""
        files = self.settings.splits[split]
        return Files(annotations=self.source / files.annotations, images=self.source / files.images)

    @property
    def inputs(self) -> tuple[Path, ...]:
        return tuple(self.given(split).annotations for split in self.splits)

    def provide(self, every_picture: bool = False) -> None:
        from gumbel.datasets.coco.provide import provide

        provide(self, every_picture)

    def classes(self, split: str) -> int:
        return _counted(self.given(split).annotations)[0]

    def size(self, split: str) -> int:
        return _counted(self.given(split).annotations)[1]

    def digests(self) -> Iterator[tuple[Path, str]]:
        for split, seen in json.loads(self.record.read_text())["splits"].items():
            yield self.annotations(split), seen["sha256"]

    @property
    def image_shares(self) -> list[float]:
        return _counted(self.given("train").annotations)[2]

    @property
    def loading(self) -> Mapping[str, Any]:
        train, test = self.settings.train_sizes, self.settings.test_size
        return {"RandomChoiceResize": {"scales": list(train)}, "Resize": {"scale": test}}

    def problems(self) -> Iterator[str]:
        for split in self.splits:
            files = self.given(split)
            if not files.annotations.is_file():
                yield f"data.splits.{split}.annotations: expected a file; found none at {files.annotations}"
            if not files.images.is_dir():
                yield f"data.splits.{split}.images: expected a folder; found none at {files.images}"


@cache
def _counted(annotations: Path) -> tuple[int, int, list[float]]:
    """Categories, images, and the share of the annotated images that shows each category, by id."""
    from gumbel.datasets.coco.provide import counts, read

    record = read(annotations)
    annotated = {entry["image_id"] for entry in record["annotations"] if not entry.get("iscrowd")}
    images, _ = counts(record)
    shares = [images[key] / max(1, len(annotated)) for key in sorted(each["id"] for each in record["categories"])]
    return len(record["categories"]), len(record["images"]), shares


DATA_SET = Coco
