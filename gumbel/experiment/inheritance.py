"""What an experiment takes over from another one: ``base: lvis`` stands for all keys of lvis.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gumbel.paths import CONFIGS

FOLDER = CONFIGS / "experiments"
#: An experiment's own: under the base's name its results would replace the base's.
_OWN = ("name", "description")


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
