"""What a training's result depends on, as short strings: Snakemake trains again when one of them changes.

They are the experiment's settings, the files of its model, data and schedule, and the code that a training runs. A
source file counts by its syntax tree without docstrings, so that a comment or the formatting changes nothing. What is
not listed retrains nothing: the page, the documentation, evaluation, bookkeeping, the text of the workflow's rules.
"""

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS, REPOSITORY

#: Keys of an experiment that change no training: its name, which cells it has, and what is made of them afterwards.
HARMLESS = {
    "name",
    "description",
    "reproduction",
    "architectures",
    "activations",
    "seeds",
    "splits",
    "released_scoring",
    "grid",
    "allow_missing",
    "recipe",
    "track",
    "checkpoints",
    "head_only",
}
#: What runs in a training, together with all that these modules import from the package.
ROOTS = ("train", "compose", "losses", "loop", "hooks", "options")
_ROOT_FILES = tuple(REPOSITORY / "gumbel" / "detection" / f"{name}.py" for name in ROOTS)
#: Imported by a training, and no part of its result.
BOOKKEEPING = REPOSITORY / "gumbel" / "experiment"

Parameters = dict[str, str | Callable[[Any], list[str]]]


def cell_parameters(experiment: Experiment) -> Parameters:
    """Parameters of rule ``train``: strings, and functions that give strings for the rule's wildcards."""

    def activation(wildcards: Any) -> list[str]:
        return _fingerprints(_imported((REPOSITORY / "gumbel" / "activations" / f"{wildcards.activation}.py",)))

    def classifier(wildcards: Any) -> list[str]:
        section = experiment.classifier.model_dump(mode="json")
        section["bias"] = section["bias"].get(wildcards.activation)
        variant = [f"variant={experiment.variant}"] if wildcards.activation == "gumbel" else []
        return [*(f"classifier.{key}={value}" for key, value in section.items()), *variant]

    def training(wildcards: Any) -> list[str]:
        own = experiment.training_of(wildcards.architecture, wildcards.activation)
        return [f"training.{key}={value}" for key, value in own.model_dump(mode="json").items()]

    return {
        **_shared(experiment, experiment.schedule, leave_out={"classifier", "variant", "training", "cells"}),
        "activation": activation,
        "classifier": classifier,
        "training": training,
    }


def code(activation: str) -> list[str]:
    """Every source file that a training with this activation runs, with the beginning of its digest."""
    own = REPOSITORY / "gumbel" / "activations" / f"{activation}.py"
    return _fingerprints([*_imported(_ROOT_FILES), *(_imported((own,)) if own.exists() else [])])


def warm_start_parameters(experiment: Experiment) -> Parameters:
    """Parameters of rule ``warm_start``, which has neither an activation nor the schedule of the cells."""
    assert experiment.warm_start is not None
    return _shared(
        experiment,
        experiment.warm_start.schedule,
        leave_out={"classifier", "variant", "schedule", "cells", "snapshots"},
    )


def _shared(experiment: Experiment, schedule: str, leave_out: set[str]) -> Parameters:
    """Settings, configuration files and code, each as a parameter of its own: Snakemake names the one that changed."""

    def model(wildcards: Any) -> list[str]:
        return _fingerprints(_based_on(CONFIGS / "models" / f"{wildcards.architecture}.py"))

    settings = experiment.model_dump(mode="json", exclude=HARMLESS | leave_out)
    configs = [CONFIGS / "datasets" / f"{experiment.dataset}.py", CONFIGS / "schedules" / f"{schedule}.py"]
    files = [*(file for config in configs for file in _based_on(config)), *_imported(_ROOT_FILES)]
    return {
        **{f"setting_{key}": f"{key}={json.dumps(value, sort_keys=True)}" for key, value in settings.items()},
        **{f"file_{index}": text for index, text in enumerate(_fingerprints(files))},
        "model": model,
    }


def _fingerprints(files: Iterable[Path]) -> list[str]:
    """Each file with the beginning of its digest, such as ``gumbel/detection/loop.py 5f3a09c1``."""
    return [f"{file.relative_to(REPOSITORY)} {_digest(file)[:8]}" for file in files]


@cache
def _digest(file: Path) -> str:
    """SHA-256 of what the file's code says: its syntax tree without docstrings."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
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
def _imported(roots: tuple[Path, ...]) -> list[Path]:
    """The modules at ``roots`` and all that they import from the package, sorted; bookkeeping is left out."""
    found: set[Path] = set()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module not in found and BOOKKEEPING not in module.parents:
            found.add(module)
            waiting += _imports(module)
    return sorted(found)


def _imports(module: Path) -> Iterator[Path]:
    """Files of the package that ``module`` names in its import statements."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith("gumbel."):
                path = REPOSITORY.joinpath(*name.split("."))
                yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists())
