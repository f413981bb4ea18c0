"""The released code's recipes, and what each implies for an experiment: ``recipes`` of configs/paper/recipe.yaml."""

from functools import cache
from typing import Any

import yaml
from pydantic import Field

from gumbel.paths import CONFIGS
from gumbel.section import Section


class Recipe(Section):
    """A family of released configurations."""

    cell: str = Field(description="its name in recipes.csv, with a place for the architecture's")
    images: int = Field(description="length of its epoch")
    schedule: str = Field(description="as the experiment's")
    oversample: float = Field(0.0, description="as the experiment's")
    activations: dict[str, str] = Field({}, description="names in recipes.csv, where they are not our own")


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe by its name."""
    return {name: Recipe.model_validate(entry) for name, entry in _record()["recipes"].items()}


def released_dataset() -> str:
    """The data set of every recipe."""
    return next(field["released"] for field in _record()["fields"] if field["name"] == "dataset")


@cache
def _record() -> Any:
    return yaml.safe_load((CONFIGS / "paper" / "recipe.yaml").read_text())
