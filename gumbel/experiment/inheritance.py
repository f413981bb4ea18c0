"""What an experiment takes over: all keys of another one by its ``base``, and what the released ``recipe`` implies."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from gumbel.paths import CONFIGS
from gumbel.section import Section

FOLDER = CONFIGS / "experiments"
#: An experiment's own: under the base's name its results would replace the base's.
_OWN = ("name", "description")


class Recipe(Section):
    """A family of released configurations: an entry of ``recipes`` in configs/paper/recipe.yaml."""

    cell: str = Field(description="its name in recipes.csv, with a place for the architecture's")
    images: int = Field(description="length of its epoch")
    schedule: str = Field(description="as the experiment's")
    oversample: float = Field(0.0, description="as the experiment's")
    activations: dict[str, str] = Field({}, description="names in recipes.csv, where they are not our own")


def find(experiment: str) -> Path:
    """The file of an experiment that is given by its name in ``configs/experiments``, or by its path."""
    named = FOLDER / f"{experiment}.yaml"
    return named if named.exists() and not Path(experiment).is_file() else Path(experiment)


def read(text: str) -> dict[str, Any]:
    """The keys and values that a text in YAML or JSON holds, unchecked.

    Raises:
        ValueError: the text holds something else.
    """
    try:
        record = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"expected YAML; found {error}") from None
    if not isinstance(record, dict):
        raise ValueError(f"expected keys and values; found {record!r}")
    return record


def resolved(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record`` with the keys of its ``base`` that it does not have itself, and those of the base's base.

    A key of its own goes over the base's, whole: nothing within the two is mixed.

    Raises:
        ValueError: there is no such base, or it leads back to itself.
    """
    whole = dict(record)
    bases: list[Path] = []
    while base := whole.pop("base", None):
        path = find(str(base))
        if not path.is_file():
            known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.yaml")))
            raise ValueError(f"base: expected a file, or one of {known}; found {base!r}")
        if path in bases:
            raise ValueError(f"base: expected an end, found {' of '.join(map(str, [*bases, path]))}; break the loop")
        bases.append(path)
        whole = {key: value for key, value in read(path.read_text()).items() if key not in _OWN} | whole
    return whole


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe by its name."""
    return {name: Recipe.model_validate(entry) for name, entry in released()["recipes"].items()}


def released_dataset() -> str:
    """The data set of every recipe."""
    return next(field["released"] for field in released()["fields"] if field["name"] == "dataset")


@cache
def released() -> Any:
    """What is known of the released configurations: configs/paper/recipe.yaml."""
    return yaml.safe_load((CONFIGS / "paper" / "recipe.yaml").read_text())
