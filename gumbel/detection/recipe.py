"""Our resolved configurations against the released ones, field by field: equal, or a deviation with its reason.

Ours is read from the mmengine configuration that a training runs from, the released one from
``configs/paper/recipes.csv``; ``recipe.yaml`` lists the fields, ``deviations.yaml`` names the deviations.
"""

import ast
import csv
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, ConfigDict
from pydantic import BaseModel, model_validator
from pydantic import ConfigDict as ModelConfig

from gumbel import datasets
from gumbel.detection.compose import cell_config, infrequent
from gumbel.detection.parts import box_heads, mask_heads, roi_extractors, samplers, train_dataset
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS

PAPER = CONFIGS / "paper"


class Deviation(BaseModel):
    """An entry of ``deviations.yaml``: where it holds, what it allows, and why."""

    model_config = ModelConfig(extra="forbid")

    fields: list[str]
    architectures: list[str] = []
    activations: list[str] = []
    recipes: list[str] = []
    datasets: list[str] = []
    released: Any = None
    ours: Any = None
    reason: str

    @model_validator(mode="after")
    def _names_values(self) -> "Deviation":
        if not self.datasets and not {"released", "ours"} <= self.model_fields_set:
            raise ValueError(f"deviation of {self.fields}: expected `released` and `ours`, found one missing; add it")
        return self


@dataclass(frozen=True)
class Comparison:
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


def compare(experiment: Experiment, configs: Iterable[Config] | None = None) -> list[Comparison]:
    """Every field of every cell (first seed), or of ``configs`` of cells."""
    configs = _configs(experiment) if configs is None else configs
    return [comparison for config in configs for comparison in _compare_cell(experiment, config)]


def as_record(comparisons: list[Comparison]) -> dict[str, Any]:
    """What ``recipe.json`` holds: the counts, and the fields that differ."""
    return {
        "schema": 1,
        "compared": len(comparisons),
        "equal": sum(each.equal for each in comparisons),
        "deviations": [asdict(each) for each in comparisons if not each.equal],
    }


def listing(comparisons: list[Comparison]) -> str:
    """Our value of every field, cell by cell."""
    lines: list[str] = []
    for each in comparisons:
        cell = f"{each.architecture}/{each.activation}"
        lines += [*([] if cell in lines else [cell]), f"  {each.field:<18} {each.ours}"]
    return "\n".join(lines)


def as_text(comparisons: list[Comparison]) -> tuple[str, int]:
    """The comparison cell by cell with a last line that counts, and how many deviations have no name."""
    cells: dict[tuple[str, str], list[Comparison]] = {}
    for each in comparisons:
        cells.setdefault((each.architecture, each.activation), []).append(each)
    lines = []
    for cell, fields in cells.items():
        equal = ", ".join(each.field for each in fields if each.equal)
        lines += ["/".join(cell), *_wrapped("equal", equal)]
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


def _wrapped(kind: str, text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent=f"  {kind:<10} ", subsequent_indent=" " * 13, break_long_words=False)


def _configs(experiment: Experiment) -> Iterator[Config]:
    for architecture in experiment.architectures:
        for activation in experiment.activations:
            yield cell_config(experiment, architecture, activation, experiment.seeds[0])


def _compare_cell(experiment: Experiment, config: Config) -> Iterator[Comparison]:
    architecture, activation = config.cell.architecture, config.cell.activation
    released = _released_row(experiment.recipe, architecture, activation)
    if released is None:
        yield Comparison(architecture, activation, "recipe", "Released configuration", "none", "composed of its parts")
        return
    for entry in _facts()["fields"]:
        field = entry["field"]
        theirs = entry["released"] if "released" in entry else released[field]
        ours = _plain(FIELDS[field](experiment, config))
        comparison = Comparison(architecture, activation, field, entry["label"], theirs, ours)
        reason = None if comparison.equal else _reason(experiment, comparison)
        yield Comparison(architecture, activation, field, entry["label"], theirs, ours, reason)


def _reason(experiment: Experiment, found: Comparison) -> str | None:
    for each in deviations():
        cells = ((each.architectures, found.architecture), (each.activations, found.activation))
        restrictions = (*cells, (each.recipes, experiment.recipe))
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
def _facts() -> dict[str, Any]:
    return yaml.safe_load((PAPER / "recipe.yaml").read_text())


def _released_row(recipe: str, architecture: str, activation: str) -> dict[str, Any] | None:
    """The released cell in the words of :data:`FIELDS`: the stand-in's where the activation was not released."""
    facts = _facts()
    family = facts["recipes"][recipe]
    cell = family["cell"].format(facts["architectures"][architecture])
    with (PAPER / "recipes.csv").open() as file:
        rows = {row["activation"]: row for row in csv.DictReader(file) if row["cell"] == cell}
    name = family.get("activations", {}).get(activation, activation)
    row = rows.get(name) or rows.get(facts["stand_in"])
    if row is None:
        return None
    values = {key: _literal(value) for key, value in row.items()}
    values["loss_cls"] = _released_loss(values["loss_cls"])
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


def _released_loss(loss: dict[str, Any]) -> str:
    weight = loss.get("loss_weight", 1.0)
    if loss["type"] == "CrossEntropyLoss":
        return _loss_in_words("sigmoid" if loss["use_sigmoid"] else "softmax", None, weight)
    if loss["type"] == "GumbelCE":
        return _loss_in_words("gumbel", "released", weight)
    name = next(entry["released"] for entry in _facts()["fields"] if entry["field"] == "dataset")
    spared = len(infrequent(datasets.get(name).of("", Path(), {}), loss["lambda_"]))
    return _loss_in_words(loss["use_classif"], "released", weight, spared)


def _our_loss(loss: ConfigDict) -> str:
    if loss.type == "CrossEntropyLoss":
        return _loss_in_words("sigmoid" if loss.use_sigmoid else "softmax", None, loss.loss_weight)
    spared = len(loss.infrequent) if loss.type == "DropLoss" else 0
    return _loss_in_words(loss.activation, loss.get("variant"), loss.loss_weight, spared)


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


def _half_precision(wrapper: ConfigDict) -> Any:
    """The loss scale of fp16, None without; another precision is said with it."""
    if wrapper.type != "AmpOptimWrapper":
        return None
    dtype, scale = wrapper.get("dtype"), wrapper.get("loss_scale")
    return scale if dtype == "float16" else f"{dtype}, {scale}"


def _scoring(experiment: Experiment, activation: str) -> str:
    names = (matrix.scored_with(activation, scoring) for scoring in matrix.scorings(experiment, activation))
    return "; ".join(dict.fromkeys(names))


def _steps(config: Config, iterations: int) -> int:
    return iterations // config.optim_wrapper.accumulative_counts


def _epochs(experiment: Experiment, config: Config, iterations: int) -> float:
    """Passes through the images; with repeat-factor sampling, through the repeated ones, as the recipe counts them."""
    images = matrix.data(experiment).epoch or _facts()["recipes"][experiment.recipe]["images"]
    return round(_steps(config, iterations) * config.batch / images, 2)


def _step(pipeline: Iterable[ConfigDict], *types: str) -> ConfigDict:
    """The first step of a pipeline that is of one of ``types``; an empty one where there is none."""
    return next((step for step in pipeline if step.type in types), ConfigDict())


def _scheduler(config: Config, kind: str) -> ConfigDict:
    return next((each for each in config.param_scheduler if each.type == kind), ConfigDict())


def _same(values: Iterable[Any]) -> Any:
    """What all stages agree on, or the list of what each has."""
    listed = list(values)
    return listed[0] if all(value == listed[0] for value in listed) else listed


def _test_step(config: Config) -> ConfigDict:
    (first, *_) = config.test_dataloaders.values()
    return _step(first.dataset.pipeline, "Resize")


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


Read = Callable[[Experiment, Config], Any]

#: How to read a field of the resolved configuration.
FIELDS: dict[str, Read] = {
    "dataset": lambda e, c: e.dataset,
    "ds": lambda e, c: train_dataset(c).type,
    "detector": lambda e, c: c.model.type,
    "backbone": lambda e, c: _backbone(c.model.backbone),
    "pretrained": lambda e, c: (c.model.backbone.init_cfg or {}).get("checkpoint"),
    "norm_eval": lambda e, c: c.model.backbone.norm_eval,
    "frozen": lambda e, c: c.model.backbone.frozen_stages,
    "base_channels": lambda e, c: c.model.backbone.base_channels,
    "fpn_channels": lambda e, c: c.model.neck.out_channels,
    "fc_channels": lambda e, c: _same(head.fc_out_channels for head in box_heads(c.model)),
    "mask_convs": lambda e, c: _same(head.num_convs for head in mask_heads(c.model)),
    "anchor_scale": lambda e, c: _same(c.model.rpn_head.anchor_generator.scales),
    "roi_samples": lambda e, c: _same(extractor.roi_layer.sampling_ratio for extractor in roi_extractors(c.model)),
    "rpn_bbox": lambda e, c: c.model.rpn_head.loss_bbox.type,
    "allowed_border": lambda e, c: c.model.train_cfg.rpn.allowed_border,
    "train_proposals": lambda e, c: c.model.train_cfg.rpn_proposal.max_per_img,
    "test_proposals": lambda e, c: c.model.test_cfg.rpn.max_per_img,
    "rois": lambda e, c: _same(sampler.num for sampler in samplers(c.model)),
    "n_heads": lambda e, c: len(box_heads(c.model)),
    "stage_w": lambda e, c: c.model.roi_head.get("stage_loss_weights"),
    "num_classes": lambda e, c: _same(head.num_classes for head in box_heads(c.model)),
    "loss_cls": lambda e, c: _same(_our_loss(head.loss_cls) for head in box_heads(c.model)),
    "cls_predictor": lambda e, c: _same(
        head.get("cls_predictor_cfg", {}).get("type", "Linear") for head in box_heads(c.model)
    ),
    "init": lambda e, c: _same(_start_in_words(head.init_cfg) for head in box_heads(c.model)),
    "other_layers": lambda e, c: _same(
        "mmdet" if len(head.init_cfg) > 1 else "PyTorch's default" for head in box_heads(c.model)
    ),
    "reg_class_agnostic": lambda e, c: _same(head.reg_class_agnostic for head in box_heads(c.model)),
    "loss_bbox": lambda e, c: _same(head.loss_bbox.type for head in box_heads(c.model)),
    "mask_head": lambda e, c: _same(_mask_head(head) for head in mask_heads(c.model)),
    "with_mask": lambda e, c: _step(train_dataset(c).pipeline, "LoadAnnotations").get("with_mask", False),
    "poly2mask": lambda e, c: _step(train_dataset(c).pipeline, "LoadAnnotations").get("poly2mask", True),
    "scales": lambda e, c: _step(train_dataset(c).pipeline, "RandomChoiceResize").get("scales"),
    "ms_mode": lambda e, c: "value" if _step(train_dataset(c).pipeline, "RandomChoiceResize") else None,
    "flip": lambda e, c: _step(train_dataset(c).pipeline, "RandomFlip").get("prob", 0.0),
    "test_scale": lambda e, c: _test_step(c).get("scale"),
    "filter": lambda e, c: _filter(train_dataset(c)),
    "oversample_thr": lambda e, c: c.train_dataloader.dataset.get("oversample_thr", 0.0),
    "sampler": lambda e, c: c.train_dataloader.sampler.type,
    "samples_per_gpu": lambda e, c: c.train_dataloader.batch_size,
    "batch": lambda e, c: c.batch,
    "optimizer": lambda e, c: c.optim_wrapper.optimizer.type,
    "lr": lambda e, c: c.optim_wrapper.optimizer.lr,
    "momentum": lambda e, c: c.optim_wrapper.optimizer.get("momentum"),
    "weight_decay": lambda e, c: c.optim_wrapper.optimizer.get("weight_decay"),
    "grad_clip": lambda e, c: c.optim_wrapper.get("clip_grad"),
    "epochs": lambda e, c: _epochs(e, c, c.train_cfg.max_iters),
    "steps": lambda e, c: [_epochs(e, c, step) for step in _scheduler(c, "MultiStepLR").get("milestones", [])],
    "decay": lambda e, c: _scheduler(c, "MultiStepLR").get("gamma"),
    "warmup": lambda e, c: _steps(c, _scheduler(c, "LinearLR").get("end", 0)),
    "warmup_ratio": lambda e, c: _scheduler(c, "LinearLR").get("start_factor"),
    "fp16": lambda e, c: _half_precision(c.optim_wrapper),
    "find_unused": lambda e, c: c.get("find_unused_parameters", False),
    "score_thr": lambda e, c: c.model.test_cfg.rcnn.score_thr,
    "nms": lambda e, c: c.model.test_cfg.rcnn.nms.iou_threshold,
    "max_per_img": lambda e, c: c.model.test_cfg.rcnn.max_per_img,
    "scoring": lambda e, c: _scoring(e, c.cell.activation),
}
