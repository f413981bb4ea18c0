"""The registry of data sets: every folder of this package is one and defines ``DATA_SET``.

The modules beside them are what data sets share: downloads, unpacking, subsets. docs/how-to/add-a-data-set.md.

>>> names()
('coco', 'lvis_v1', 'mini')
"""

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

from gumbel.paths import DataPaths
from gumbel.section import Section


@dataclass(frozen=True)
class DataSet(DataPaths, ABC):
    """A data set as an experiment uses it: its files as the stages read them, and what is known before they are there.

    How mmdet loads it is ``configs/datasets/<name>.py``.

    Attributes:
        root: folder of the files that the stages read.
        source: ``data_root`` of the experiment.
        settings: ``data`` of the experiment.
    """

    source: Path
    settings: Any

    #: The class of ``settings``.
    Settings: ClassVar[type[Section]] = Section
    #: What readers call it.
    label: ClassVar[str]
    #: What the page says of it before all else, and of its splits.
    notice: ClassVar[str] = ""
    note: ClassVar[str] = ""
    #: Files of the project that its properties are read from.
    facts: ClassVar[tuple[Path, ...]] = ()
    #: Whether it is provided on the submit host, which has a network.
    on_submit_host: ClassVar[bool] = False
    #: Whether its settings alone make what ``data_root`` holds, so that other settings need a folder of their own.
    generated: ClassVar[bool] = False

    @staticmethod
    def folder(experiment: str, source: Path) -> Path:
        """``root`` of an experiment's data."""
        return source

    @classmethod
    def of(cls, experiment: str, source: Path, settings: Mapping[str, Any]) -> Self:
        """The data of the experiment of that name, with its ``data_root`` and ``data``.

        Raises:
            pydantic.ValidationError: the settings are not those of the data set.
        """
        return cls(cls.folder(experiment, source), source, cls.Settings.model_validate(settings))

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that :meth:`provide` brings."""

    @property
    def record(self) -> Path:
        """What :meth:`provide` writes last: what was provided, with SHA-256."""
        return self.verified

    @abstractmethod
    def provide(self, every_picture: bool = False) -> None:
        """Make the files of :class:`DataPaths` for every split, and the record.

        Sizes of the user's pictures are compared with the annotations: of a sample, or of every picture.

        Raises:
            ValueError: the data is not what it should be; OSError: it cannot be had.
        """

    @abstractmethod
    def classes(self, split: str) -> int:
        """Number of categories, C."""

    @abstractmethod
    def size(self, split: str) -> int:
        """Number of images."""

    @abstractmethod
    def digests(self) -> Iterator[tuple[Path, str]]:
        """Every file of annotations with the SHA-256 that the record has."""

    @property
    def loading(self) -> Mapping[str, Any]:
        """What the settings change of ``configs/datasets/<name>.py``: keys of a resize step by the place it has."""
        return {}

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files of the user's that the data is made from, and that its classes are read from."""
        return ()

    @property
    def epoch(self) -> int | None:
        """Images of a pass over the training split; None where the recipe says."""
        return self.size("train")

    @property
    def image_shares(self) -> list[float] | None:
        """Share of the annotated training images that shows each category (C,), by id; None where it is not known."""
        return None

    def problems(self) -> Iterator[str]:
        """Why the experiment cannot have its data, each in a line for its author."""
        yield from ()


def names() -> tuple[str, ...]:
    """Names of the registered data sets, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


def get(name: str) -> type[DataSet]:
    """The class of the data set called ``name``.

    Raises:
        ValueError: no data set has that name.
    """
    if name not in names():
        raise ValueError(f"expected one of {', '.join(names())}; found {name!r}")
    return import_module(f"{__name__}.{name}").DATA_SET
