"""What decides a configuration and a training, and so makes them anew when it changes.

A configuration depends on the settings of its own cell, on the files of its model, data and schedule, and on the code
that composes it and trains it. A source file counts by its syntax tree without docstrings, so that a comment or the
formatting changes nothing. What is not listed makes nothing anew: the page, the documentation, evaluation, a job's
bookkeeping, the text of the workflow's rules.
"""

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gumbel import activations, datasets
from gumbel.datasets import backbones
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS, REPOSITORY
from gumbel.section import Section

#: Keys of an experiment that change no configuration: what it is called, and what is made of its cells afterwards.
HARMLESS = {
    "description",
    "reproduction",
    "released_scoring",
    "grid",
    "allow_missing",
    "recipe",
    "checkpoints",
    "head_only",
}
_NOT_OF_A_WARM_START = {"cells", "options", "snapshots", "classifier", "gol", "oversample", "subset"}
_PACKAGE = REPOSITORY / "gumbel"
#: What runs in a training, with all that it imports from the package.
TRAINING = tuple(
    _PACKAGE / "detection" / f"{name}.py"
    for name in ("train", "boxed_masks", "curves", "loading", "losses", "loop", "hooks", "options", "precision")
)
#: Imported by a training and no part of its result: bookkeeping, and what is in the configuration already.
_APART_FROM_TRAINING = (_PACKAGE / "jobs", _PACKAGE / "experiment", _PACKAGE / "datasets")
#: What may have a docstring.
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def cell_settings(experiment: Experiment, architecture: str, activation: str, seed: int | str) -> Experiment:
    """The part of an experiment that decides the configuration of one of its cells: an experiment of that cell alone.

    The cell's configuration is the same in both.
    """
    bias = {name: value for name, value in experiment.classifier.bias.items() if name == activation}
    own = {
        "architectures": [architecture],
        "activations": [activation],
        "seeds": [int(seed)],
        "training": experiment.training_of(architecture, activation),
        "cells": {},
        "options": {name: value for name, value in experiment.options.items() if name == activation},
        "classifier": experiment.classifier.model_copy(update={"bias": bias}),
    }
    return experiment.model_copy(update=_defaults(experiment) | own)


def warm_start_settings(experiment: Experiment, architecture: str) -> Experiment:
    """The part of an experiment that decides the configuration of the warm start of an architecture.

    It has no activation, for which any stands in, and a schedule of its own.
    """
    assert experiment.warm_start is not None
    own = {"architectures": [architecture], "activations": [activations.names()[0]], "seeds": [0]}
    own |= {"schedule": experiment.warm_start.schedule}
    return experiment.model_copy(update=_defaults(experiment, HARMLESS | _NOT_OF_A_WARM_START) | own)


def as_settings(settings: Section) -> list[str]:
    """Entries ``"key": value,`` that are an experiment again in braces; Snakemake names those that change."""
    record = settings.model_dump(mode="json", exclude_defaults=True)
    return [f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}," for key, value in sorted(record.items())]


@cache
def sources(dataset: str, architecture: str, activation: str | None, schedule: str) -> list[str]:
    """Every file that a training and its configuration depend on, with the beginning of its digest; and packages.

    Args:
        dataset, architecture, activation, schedule: names; activation is None for a warm start.
    """
    configs = {"models": architecture, "datasets": dataset, "schedules": schedule}
    files = {file for folder, name in configs.items() for file in _based_on(CONFIGS / folder / f"{name}.py")}
    files |= {backbones.FILE, *datasets.get(dataset).facts}
    composing = (_PACKAGE / "detection" / "compose.py", _PACKAGE / "datasets" / dataset / "__init__.py")
    files |= {*_imported((*composing, *_activation(activation)), (_PACKAGE / "jobs",))}
    files |= {*_imported(TRAINING, _APART_FROM_TRAINING)}
    # Ours inherit from configurations of these
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("mmdet", "mmengine")]
    return [*fingerprints(sorted(files)), *packages]


def code(activation: str) -> list[str]:
    """Every source file that a training with this activation runs, with the beginning of its digest."""
    return fingerprints(_imported((*TRAINING, *_activation(activation)), _APART_FROM_TRAINING))


def _defaults(experiment: Experiment, keys: Iterable[str] = HARMLESS) -> dict[str, Any]:
    """Keys of no effect with values that say nothing."""
    fields = type(experiment).model_fields
    values = {name: fields[name].get_default(call_default_factory=True, validated_data={}) for name in keys}
    return values | {"description": "", "reproduction": False}


def _activation(name: str | None) -> list[Path]:
    path = _PACKAGE / "activations" / f"{name}.py"
    return [path] if path.exists() else []


def fingerprints(files: Iterable[Path]) -> list[str]:
    """Each file with the beginning of its digest, such as ``gumbel/detection/loop.py 5f3a09c1``."""
    return [f"{file.relative_to(REPOSITORY)} {_digest(file)[:8]}" for file in files]


@cache
def _digest(file: Path) -> str:
    """SHA-256 of what a file says: of code its syntax tree without docstrings, of YAML what it holds."""
    if file.suffix == ".yaml":
        return hashlib.sha256(json.dumps(yaml.safe_load(file.read_text()), sort_keys=True).encode()).hexdigest()
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def _based_on(config: Path) -> list[Path]:
    """A configuration file and those of the project that it inherits from."""
    files = [config]
    for node in ast.parse(config.read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["_base_"]:
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                if "::" not in base:  # of a pinned package
                    files += _based_on((config.parent / base).resolve())
    return files


@cache
def _imported(roots: tuple[Path, ...], without: tuple[Path, ...]) -> list[Path]:
    """The modules at ``roots`` and all that they import from the package, sorted; folders ``without`` are left out."""
    found: set[Path] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and not set(without) & set(module.parents):
            found.add(module)
            waiting += _imports(module)
    return sorted(found)


@cache
def _imports(module: Path) -> list[Path]:
    """Files of the package that a module imports when it is imported itself: what a function imports late is apart."""
    names = []
    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    places = [REPOSITORY.joinpath(*name.split(".")) for name in names if name.startswith("gumbel.")]
    return [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()]
