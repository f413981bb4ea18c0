"""Our resolved configurations against the released ones, field by field: equal, or a deviation with its reason.

Ours is read from the mmengine configuration that a training runs from, the released one from
``configs/paper/recipes.csv``; ``recipe.yaml`` says where each field is, ``deviations.yaml`` names the deviations.
"""

import ast
import csv
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import groupby, product
from pathlib import Path
from typing import Any

import yaml
from mmdet.registry import DATASETS
from mmengine.config import Config, ConfigDict
from pydantic import model_validator

import gumbel.detection.loading  # noqa: F401 - registers its data set
from gumbel import datasets
from gumbel.detection.compose import cell_config, infrequent
from gumbel.detection.parts import as_list, box_heads, mask_heads, roi_extractors, train_dataset
from gumbel.experiment import inheritance, matrix
from gumbel.experiment.inheritance import recipes
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS
from gumbel.section import Section

PAPER = CONFIGS / "paper"


class Deviation(Section):
    """An entry of ``deviations.yaml``: where it holds, what it allows, and why."""

    fields: list[str]
    architectures: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    released: Any = None
    ours: Any = None
    reason: str

    @model_validator(mode="after")
    def _names_values(self) -> "Deviation":
        if not self.datasets and not {"released", "ours"} <= self.model_fields_set:
            raise ValueError(f"deviation of {self.fields}: expected `released` and `ours`, found one missing; add it")
        return self


class Field(Section):
    """What is compared: an entry of ``recipe.yaml``."""

    name: str
    label: str
    ours: str
    absent: Any = None
    released: Any = None


@dataclass(frozen=True)
class FieldComparison:
    """One field of one cell; ``reason`` is None where the values are equal, or differ without a name."""

    architecture: str
    activation: str
    field: str
    label: str
    released: Any
    ours: Any
    reason: str | None = None

    @property
    def equal(self) -> bool:
        return self.released == self.ours


def compare(experiment: Experiment, configs: Iterable[Config] | None = None) -> list[FieldComparison]:
    """Every field of every cell (first seed), or of ``configs`` of cells."""
    if configs is None:
        cells = product(experiment.architectures, experiment.activations, experiment.seeds[:1])
        configs = (cell_config(experiment, *cell) for cell in cells)
    return [comparison for config in configs for comparison in _compare_cell(experiment, config)]


def as_record(comparisons: list[FieldComparison]) -> dict[str, Any]:
    """What ``recipe.json`` holds: the counts, and the fields that differ."""
    return {
        "schema": 1,
        "compared": len(comparisons),
        "equal": sum(each.equal for each in comparisons),
        "deviations": [asdict(each) for each in comparisons if not each.equal],
    }


def listing(comparisons: list[FieldComparison]) -> str:
    """Our value of every field, cell by cell."""
    lines: list[str] = []
    for cell, fields in _by_cell(comparisons).items():
        lines += [cell, *(f"  {each.field:<18} {each.ours}" for each in fields)]
    return "\n".join(lines)


def as_text(comparisons: list[FieldComparison]) -> tuple[str, int]:
    """The comparison cell by cell with a last line that counts, and how many deviations have no name."""
    cells = _by_cell(comparisons)
    lines = []
    for cell, fields in cells.items():
        lines += [cell, *_wrapped("equal", ", ".join(each.field for each in fields if each.equal))]
        for each in fields:
            if not each.equal:
                kind, reason = ("deviation", each.reason) if each.reason else ("UNNAMED", "no reason is named")
                lines += _wrapped(kind, f"{each.field}: {each.released} -> {each.ours}: {reason}")
    unnamed = sum(not each.equal and each.reason is None for each in comparisons)
    same = sum(each.equal for each in comparisons)
    lines.append(
        f"{len(cells)} cells, {len(comparisons)} fields compared: {same} equal, "
        f"{len(comparisons) - same - unnamed} named deviations, {unnamed} unnamed"
    )
    return "\n".join(lines), unnamed


def _by_cell(comparisons: list[FieldComparison]) -> dict[str, list[FieldComparison]]:
    grouped = groupby(comparisons, lambda each: f"{each.architecture}/{each.activation}")
    return {cell: list(fields) for cell, fields in grouped}


def _wrapped(kind: str, text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=f"  {kind:<10} ", subsequent_indent=" " * 13, break_long_words=False)


def _compare_cell(experiment: Experiment, config: Config) -> Iterator[FieldComparison]:
    architecture, activation = config.cell.architecture, config.cell.activation
    released = _released_row(experiment.recipe, architecture, activation)
    if released is None:
        none = ("none", "composed of its parts")
        yield FieldComparison(architecture, activation, "recipe", "Released configuration", *none)
        return
    ours = _values(experiment, config)
    for field in fields():
        theirs = field.released if "released" in field.model_fields_set else released[field.name]
        mine = _follow(ours, field.ours, field.absent)
        found = FieldComparison(architecture, activation, field.name, field.label, theirs, mine)
        yield found if found.equal else replace(found, reason=_reason(experiment, found))


def _reason(experiment: Experiment, found: FieldComparison) -> str | None:
    names = (found.architecture, found.activation, experiment.recipe)
    for each in deviations():
        restrictions = zip((each.architectures, each.activations, each.recipes), names, strict=True)
        named = found.field in each.fields and all(not allowed or name in allowed for allowed, name in restrictions)
        free = experiment.dataset in each.datasets
        if named and (free or (not each.datasets and (each.released, each.ours) == (found.released, found.ours))):
            return each.reason
    return None


@cache
def deviations() -> list[Deviation]:
    """The named deviations, checked."""
    record = yaml.safe_load((PAPER / "deviations.yaml").read_text())
    return [Deviation.model_validate(entry) for entry in record["deviations"]]


@cache
def fields() -> list[Field]:
    """What is compared, checked.

    Raises:
        ValueError: a field stands there twice, or nothing says what was released.
    """
    found = [Field.model_validate(entry) for entry in inheritance.released()["fields"]]
    names = [field.name for field in found]
    columns = {*_released()[0], "batch", "scoring"}
    for field in found:
        if names.count(field.name) > 1 or not ("released" in field.model_fields_set or field.name in columns):
            raise ValueError(
                f"expected {field.name} once among the fields of recipe.yaml, with `released` or a column of that name "
                "in recipes.csv; found it twice, or without; correct it"
            )
    return found


@cache
def _released() -> list[dict[str, str]]:
    with (PAPER / "recipes.csv").open() as file:
        return list(csv.DictReader(file))


def _released_row(recipe: str, architecture: str, activation: str) -> dict[str, Any] | None:
    """The released cell by the names of :func:`fields`: the stand-in's where the activation was not released."""
    facts = inheritance.released()
    family = recipes()[recipe]
    cell = family.cell.format(facts["architectures"].get(architecture))
    rows = {row["activation"]: row for row in _released() if row["cell"] == cell}
    row = rows.get(family.activations.get(activation, activation)) or rows.get(facts["stand_in"])
    if row is None:
        return None
    values = {key: _literal(value) for key, value in row.items()}
    values["loss_cls"] = _released_loss(values["loss_cls"], facts["trained_with"][row["activation"]])
    values["init"] = values["init"].replace(".0,", ",").removesuffix(".0")
    values["fp16"] = values["fp16"] and values["fp16"]["loss_scale"]
    values["grad_clip"] = values["grad_clip"]["grad_clip"]
    values["mask_head"] = values["mask_head"].partition(" keys=")[0]
    values["scales"] = [list(scale) for scale in values["scales"]]
    values["cls_predictor"] = values["cls_predictor"] or "Linear"
    values["find_unused"] = bool(values["find_unused"])
    values["batch"] = values["samples_per_gpu"] * facts["gpus"]
    values["scoring"] = facts["scored_with"][row["activation"]]
    return values


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        return text


def _released_loss(loss: dict[str, Any], activation: str) -> str:
    variant = None if loss["type"] == "CrossEntropyLoss" else "released"
    spared = 0
    if "lambda_" in loss:
        data = datasets.get(inheritance.released_dataset()).of("", Path(), {})
        spared = len(infrequent(data, loss["lambda_"]))
    return _loss_in_words(activation, variant, loss.get("loss_weight", 1.0), spared)


def _our_loss(loss: ConfigDict, activation: str) -> str:
    return _loss_in_words(activation, loss.get("variant"), loss.loss_weight, len(loss.get("infrequent", ())))


def _loss_in_words(activation: str, variant: str | None, weight: float, spared: int = 0) -> str:
    drop = f"drop loss for {spared} categories" if spared else None
    times = None if weight == 1 else f"times {weight:g}"
    return ", ".join(part for part in (activation, variant and f"{variant} variant", drop, times) if part)


def _start_in_words(init: Any) -> str:
    first = init[0]
    weight = f"w={first.val:g}" if first.type == "Constant" else f"w={first.type}({first.std:g})"
    return f"{weight},b={first.bias:g}"


def _mask_head(head: ConfigDict) -> str:
    predictor = head.get("predictor_cfg", {}).get("type", "Conv")
    return f"{head.type} nc={head.num_classes} agn={head.get('class_agnostic', False)} pred={predictor}"


def _filter(dataset: ConfigDict) -> str:
    empty = "without annotations" if dataset.filter_cfg.filter_empty_gt else "none"
    return f"{empty}, or below {dataset.filter_cfg.min_size} pixels"


def _backbone(backbone: ConfigDict) -> str:
    groups = f" {backbone.groups}x{backbone.base_width}d" if "groups" in backbone else ""
    return f"{backbone.type}-{backbone.depth}{groups}"


def _reduced_precision(config: Config) -> Any:
    """The loss scale of fp16, None in fp32; another precision by its name."""
    if config.optim_wrapper.type == "AmpOptimWrapper":
        return config.optim_wrapper.loss_scale
    return None if config.precision == "fp32" else config.precision


def _values(experiment: Experiment, config: Config) -> dict[str, Any]:
    """What the paths of :func:`fields` lead through: the configuration, its parts, and what is computed from them."""
    model, boxes, masks = config.model, box_heads(config.model), mask_heads(config.model)
    dataset, loads = train_dataset(config), config.optim_wrapper.accumulative_counts
    activation = config.cell.activation
    scorings = [matrix.scored_with(activation, scoring) for scoring in matrix.scorings(experiment, activation)]
    # With repeat-factor sampling the recipe counts the repeated images
    images = matrix.data(experiment).epoch or recipes()[experiment.recipe].images

    def epochs(steps: int) -> float:
        return round(steps * config.batch / images, 2)

    return {
        **dict(config.items()),
        "experiment": {"dataset": experiment.dataset},
        "box_heads": boxes,
        "mask_heads": masks,
        "roi_extractors": roi_extractors(model),
        "train_dataset": dataset,
        "test_dataset": next(iter(config.test_dataloaders.values())).dataset,
        "computed": {
            "backbone": _backbone(model.backbone),
            "n_heads": len(boxes),
            "loss_cls": [_our_loss(head.loss_cls, activation) for head in boxes],
            "init": [_start_in_words(head.init_cfg) for head in boxes],
            "other_layers": ["mmdet" if len(head.init_cfg) > 1 else "PyTorch's default" for head in boxes],
            "mask_head": [_mask_head(head) for head in masks],
            "dataset_class": _of_mmdet(dataset.type),
            "ms_mode": "value" if any(step.type == "RandomChoiceResize" for step in dataset.pipeline) else None,
            "filter": _filter(dataset),
            "epochs": epochs(config.train_cfg.max_iters // loads),
            "steps": [epochs(step) for step in _follow(config.param_scheduler, "MultiStepLR.milestones", [])],
            "warmup": _follow(config.param_scheduler, "LinearLR.end", 0),
            "fp16": _reduced_precision(config),
            "scoring": "; ".join(dict.fromkeys(scorings)),
        },
    }


def _of_mmdet(name: str) -> str:
    """mmdet's own class of which a data set has the items: itself, or the one that it derives from."""
    return next(each.__name__ for each in DATASETS.get(name).__mro__ if each.__module__.startswith("mmdet."))


def _follow(value: Any, path: str, absent: Any) -> Any:
    """What lies at the dotted ``path``, of lists and numbers; ``absent`` where nothing does."""
    if value is None:
        return absent
    listed = isinstance(value, list | tuple)
    if not path:
        return [_follow(each, path, absent) for each in value] if listed else value
    key, _, rest = path.partition(".")
    if key == "*":
        stages = [_follow(each, rest, absent) for each in as_list(value)]
        return stages[0] if all(each == stages[0] for each in stages) else stages
    inner = next((each for each in value if each.type == key), None) if listed else value.get(key)
    return _follow(inner, rest, absent)
