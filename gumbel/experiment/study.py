"""A study: an experiment and its variations, each of them an experiment that differs from it in one setting.

A study is a file in ``configs/studies``; docs/study.md tells of ours.
"""

import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from gumbel import datasets
from gumbel.experiment import inheritance, matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS, ExperimentPaths
from gumbel.section import Section

FOLDER = CONFIGS / "studies"
_VALUES = Annotated[list[Any], Field(min_length=1)]


class Study(Section):
    """Which settings of an experiment are varied, and which activations are compared."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="of its page")]
    description: str = Field(description="one sentence for the page's first line")
    base: str = Field(description="the experiment that is varied: its name in configs/experiments, or its path")
    of: str = Field(description="activation whose difference from others is of interest")
    against: list[str] = Field(min_length=1, description="those that are subtracted")
    factors: dict[str, _VALUES] = Field(
        min_length=1,
        description="settings by their keys, such as `training.precision`, with the values that each takes while the "
        "others stay as in the base. The base's own value is one of them",
    )


class Level(NamedTuple):
    """An experiment of a study: the base with ``factor`` at ``value``, and the file that Snakemake is given."""

    factor: str
    value: Any
    experiment: Experiment
    file: Path
    #: What ``file`` holds; None where it is the base's own file.
    record: dict[str, Any] | None


def load(given: Path | str) -> Study:
    """Read and check a study, given by its name in ``configs/studies`` or its path.

    Raises:
        ValueError: a key is wrong, each with what was expected; FileNotFoundError: there is no such file.
    """
    named = FOLDER / f"{given}.yaml"
    path = named if named.is_file() else Path(given)
    try:
        study = Study.model_validate(inheritance.read(path.read_text()))
        levels(study)
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, one['loc']))}: {one['msg']}; found {one['input']!r}" for one in error.errors())
        raise ValueError("\n".join([f"{path} is no valid study:", *lines, "Correct it; docs/study.md"])) from None
    except ValueError as error:
        raise ValueError(f"{path} is no valid study: {error}") from None
    return study


def levels(study: Study) -> list[Level]:
    """Every value of every factor, in their order; the base stands once in each factor.

    Raises:
        ValueError: the base, or a level, is no valid experiment, or the base lacks what the study compares.
    """
    base = matrix.load(inheritance.find(study.base))
    compared = [study.of, *study.against]
    if len(base.architectures) != 1 or set(compared) - set(base.activations):
        raise ValueError(
            f"base: expected an experiment of one architecture with the activations {', '.join(compared)}, found "
            f"{', '.join(base.architectures)} with {', '.join(base.activations)} in {base.name}"
        )
    found = [_level(study, base, factor, value) for factor, values in study.factors.items() for value in values]
    for factor, values in study.factors.items():
        own = [level for level in found if level.factor == factor]
        if sum(level.record is None for level in own) != 1 or len({level.file for level in own}) < len(values):
            raise ValueError(
                f"factors.{factor}: expected different values, and once that of {base.name}, "
                f"{_at(base.model_dump(), factor)!r}; found {values}"
            )
    return found


def _level(study: Study, base: Experiment, factor: str, value: Any) -> Level:
    record = base.model_dump()
    top = factor.partition(".")[0]
    if _at(record, factor) == value:
        return Level(factor, value, base, inheritance.find(study.base), None)
    changed = _with(base.model_dump(mode="json"), factor, value)
    name = re.sub(r"[^a-z0-9]+", "_", f"{base.name}_{factor}_{value}".lower()).strip("_")
    record = {"base": study.base, "name": name, "description": f"{base.name} with {factor} {value}.", top: changed[top]}
    if datasets.get(base.dataset).generated:
        record["data_root"] = str(base.data_root.with_name(name))
    return Level(factor, value, matrix.parse(record, f"{factor} {value}"), ExperimentPaths(name).level, record)


def _at(record: dict[str, Any], key: str) -> Any:
    """The value of a setting; None where there is none."""
    value: Any = record
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _with(record: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Give a setting of the record another value; whether there is such a setting is for others to check."""
    section = record
    *sections, last = key.split(".")
    for part in sections:
        if not isinstance(section.setdefault(part, {}), dict):
            raise ValueError(f"factors.{key}: expected a section {part}, found {section[part]!r}; correct the key")
        section = section[part]
    section[last] = value
    return record
