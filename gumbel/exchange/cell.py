"""A cell as this checkout would make it: which files it has, and what they must say wherever they come from."""

import hashlib
import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gumbel.detection import compose
from gumbel.experiment import architectures, dependencies, matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest
from gumbel.paths import CellPaths, ExperimentPaths

_SHOWN = 20  # differences that a message names
_NOTHING = "nothing"
_OWN = CellPaths(Path())

Count = Annotated[int, Field(ge=0, lt=2**53)]
Amount = Annotated[float, Field(ge=0)]


class Training(BaseModel):
    """The record of a training, as far as it is compared and shown; what else a stranger's holds is left out."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    host: str
    processor: str
    python: str
    versions: dict[str, str | None]
    commit: str | None
    started: str
    finished: str
    seconds: Amount
    device: str
    gpu: str | None
    precision: str
    world_size: Count
    peak_memory_bytes: Count
    parameters: Count
    learning_rate: Amount
    loss_cls: list[str]
    seed: Count
    iterations: Count
    steps: Count
    batch_size: Count
    config_sha256: str
    data_sha256: dict[str, str]
    checkpoint_sha256: str
    code: list[str]


@dataclass(frozen=True)
class Wanted:
    """A cell of an experiment, as this checkout composes it and from the data that lies here."""

    experiment: Experiment
    cell: matrix.Cell

    def __str__(self) -> str:
        return f"{self.cell} of {self.experiment.name}"

    @property
    def paths(self) -> CellPaths:
        return self.cell.paths(self.experiment)

    @cached_property
    def config(self) -> Any:
        return compose.cell_config(self.experiment, self.cell.architecture, self.cell.activation, self.cell.seed)

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration's fields, as JSON has them."""
        return dict(json.loads(json.dumps(self.config.to_dict())))

    @cached_property
    def config_sha256(self) -> str:
        text = compose.as_text(self.experiment, self.config, self.paths.config)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def scored(self) -> Iterator[tuple[CellPaths, str, str]]:
        """Of each prediction: the files of the weights that made it, relative to the cell's; split; scoring."""
        for split, scoring in matrix.scored(self.experiment, self.cell.activation):
            yield _OWN, split, scoring
        yield from ((at, self.experiment.splits[0], "matched") for at in self._snapshots)

    @property
    def _snapshots(self) -> list[CellPaths]:
        return [_OWN.at(percent) for percent in matrix.snapshots(self.experiment, self.cell)]

    @property
    def weights(self) -> list[str]:
        return [str(at.checkpoint) for at in (_OWN, *self._snapshots)]

    @property
    def files(self) -> list[str]:
        """What travels beside weights, relative to the cell's folder; all else is made from it."""
        scored = ((at.predictions(*pair), at.metrics(*pair)) for at, *pair in self.scored)
        return list(map(str, [_OWN.manifest, _OWN.history, _OWN.weight_norms, *chain.from_iterable(scored)]))

    def annotations(self, split: str) -> Path:
        return matrix.data(self.experiment).annotations(split)

    @property
    def _trained_from(self) -> list[Path]:
        """What the record of a training names with its SHA-256."""
        files = ExperimentPaths(self.experiment.name)
        warm_start = [files.warm_start(self.cell.architecture).checkpoint] if self.experiment.warm_start else []
        return [self.annotations(self.experiment.train_split), *warm_start]

    def check_data(self) -> None:
        """Raise ValueError unless all that the cell is made from lies here: what came later would make it anew."""
        backbone = None if self.experiment.warm_start else architectures.get(self.cell.architecture).weights
        needed = [*self._trained_from, *map(self.annotations, self.experiment.splits)]
        needed += [backbone.path] if backbone else []
        if missing := " ".join(str(path) for path in needed if not path.exists()):
            raise ValueError(f"expected {missing}, found nothing there; run `snakemake --configfile FILE -- {missing}`")

    def training(self, record: Any, source: str) -> Training:
        """The record of a training of this cell.

        Raises:
            ValueError: it lacks what a record has, or is that of another configuration, code or data.
        """
        try:
            found = Training.model_validate(record)
        except ValidationError as error:
            lines = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise _different(f"the record of a training in {source}", lines) from None
        expected = {
            "seed": self.cell.seed,
            "iterations": self.config.train_cfg.max_iters,
            "batch_size": self.experiment.batch,
            "data_sha256": manifest.sha256s(self._trained_from),
            "code": _by_file(dependencies.code(self.cell.activation)),
            "config_sha256": self.config_sha256,
        }
        told = found.model_dump() | {"code": _by_file(found.code)}
        compare(expected, {key: told[key] for key in expected}, f"{self} in {source} to be trained as it would be here")
        return found


def _by_file(digests: list[str]) -> dict[str, str]:
    return {name: digest for name, _, digest in (entry.rpartition(" ") for entry in digests)}


def compare(expected: Any, found: Any, what: str, tolerance: float = 0.0) -> None:
    """Raise ValueError with each field in which ``found`` differs; numbers may by ``tolerance``."""
    if lines := list(islice(_differences(expected, found, "", tolerance), _SHOWN + 1)):
        raise _different(what, [*lines[:_SHOWN], *["and more"][: len(lines) - _SHOWN]])


def _different(what: str, lines: Iterable[str]) -> ValueError:
    # A stranger's text may hold what moves a terminal's cursor
    listed = "\n  ".join(line if line.isprintable() else ascii(line) for line in (each[:300] for each in lines))
    return ValueError(f"expected {what}, found other values (docs/how-to/together.md):\n  {listed}")


def _differences(expected: Any, found: Any, field: str, tolerance: float) -> Iterator[str]:
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in [*expected, *(key for key in found if key not in expected)]:
            pair = expected.get(key, _NOTHING), found.get(key, _NOTHING)
            yield from _differences(*pair, f"{field}.{key}".lstrip("."), tolerance)
    elif isinstance(expected, list) and isinstance(found, list):
        for number, pair in enumerate(zip_longest(expected, found, fillvalue=_NOTHING)):
            yield from _differences(*pair, f"{field}[{number}]", tolerance)
    elif tolerance and isinstance(expected, float) and isinstance(found, float):
        if not math.isclose(expected, found, rel_tol=0, abs_tol=tolerance):
            yield f"{field}: expected {expected!r}, found {found!r}"
    elif expected != found:
        yield f"{field}: expected {reprlib.repr(expected)}, found {reprlib.repr(found)}"
