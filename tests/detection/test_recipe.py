"""Our resolved configurations against the released ones, and what happens when they drift apart."""

import csv
from copy import deepcopy
from functools import cache, reduce
from typing import Any

import pytest
import yaml
from mmengine.config import Config, ConfigDict

from gumbel import activations
from gumbel.commands import main
from gumbel.detection import recipe
from gumbel.detection.compose import cell_config
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS

EXPERIMENTS = {path.stem: matrix.load(path) for path in sorted((CONFIGS / "experiments").glob("*.yaml"))}
LVIS = EXPERIMENTS["lvis"]
FACTS = yaml.safe_load((CONFIGS / "paper" / "recipe.yaml").read_text())
FIELDS = [entry["name"] for entry in FACTS["fields"]]
HEADS = "model.roi_head.bbox_head"
NORMED = {"type": "NormedLinear"}

#: One change for every field that is read from a configuration: where, and another value. Stages change one by one.
CHANGES: dict[str, tuple[str, Any]] = {
    "ds": ("train_dataloader.dataset.type", "CocoDataset"),
    "detector": ("model.type", "FasterRCNN"),
    "backbone": ("model.backbone.depth", 50),
    "pretrained": ("model.backbone.init_cfg", None),
    "norm_eval": ("model.backbone.norm_eval", False),
    "frozen": ("model.backbone.frozen_stages", 0),
    "base_channels": ("model.backbone.base_channels", 32),
    "fpn_channels": ("model.neck.out_channels", 128),
    "fc_channels": (f"{HEADS}.1.fc_out_channels", 512),
    "mask_convs": ("model.roi_head.mask_head.num_convs", 2),
    "anchor_scale": ("model.rpn_head.anchor_generator.scales", [4]),
    "roi_samples": ("model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio", 2),
    "rpn_bbox": ("model.rpn_head.loss_bbox.type", "L1Loss"),
    "allowed_border": ("model.train_cfg.rpn.allowed_border", -1),
    "train_proposals": ("model.train_cfg.rpn_proposal.max_per_img", 1000),
    "test_proposals": ("model.test_cfg.rpn.max_per_img", 500),
    "rois": ("model.train_cfg.rcnn.2.sampler.num", 256),
    "n_heads": (HEADS, lambda config: config.model.roi_head.bbox_head[:2]),
    "stage_w": ("model.roi_head.stage_loss_weights", [1, 1, 1]),
    "num_classes": (f"{HEADS}.2.num_classes", 80),
    "loss_cls": (f"{HEADS}.1.loss_cls.variant", "exact"),
    "cls_predictor": (f"{HEADS}.0.cls_predictor_cfg", NORMED),
    "init": (f"{HEADS}.1.init_cfg.0.bias", -6.5),
    "other_layers": (f"{HEADS}.2.init_cfg", [ConfigDict(type="Constant", val=0.001, bias=-2.0)] * 2),
    "reg_class_agnostic": (f"{HEADS}.0.reg_class_agnostic", False),
    "loss_bbox": (f"{HEADS}.2.loss_bbox.type", "L1Loss"),
    "mask_head": ("model.roi_head.mask_head.predictor_cfg", {"type": "NormedConv2d"}),
    "with_mask": ("train_dataloader.dataset.pipeline.1.with_mask", False),
    "poly2mask": ("train_dataloader.dataset.pipeline.1.poly2mask", False),
    "scales": ("train_dataloader.dataset.pipeline.2.scales", [(1333, 800)]),
    "ms_mode": ("train_dataloader.dataset.pipeline.2.type", "RandomResize"),
    "flip": ("train_dataloader.dataset.pipeline.3.prob", 0.0),
    "test_scale": ("test_dataloaders.val.dataset.pipeline.1.scale", (1333, 640)),
    "filter": ("train_dataloader.dataset.filter_cfg.filter_empty_gt", False),
    "oversample_thr": ("train_dataloader.dataset.oversample_thr", 0.001),
    "sampler": ("train_dataloader.sampler.type", "DefaultSampler"),
    "samples_per_gpu": ("train_dataloader.batch_size", 2),
    "batch": ("batch", 8),
    "optimizer": ("optim_wrapper.optimizer.type", "AdamW"),
    "lr": ("optim_wrapper.optimizer.lr", 0.01),
    "momentum": ("optim_wrapper.optimizer.momentum", 0.8),
    "weight_decay": ("optim_wrapper.optimizer.weight_decay", 0.0005),
    "grad_clip": ("optim_wrapper.clip_grad", {"max_norm": 35}),
    "epochs": ("train_cfg.max_iters", 90_000),
    "steps": ("param_scheduler.1.milestones", [60_000, 80_000]),
    "decay": ("param_scheduler.1.gamma", 0.2),
    "warmup": ("param_scheduler.0.end", 1000),
    "warmup_ratio": ("param_scheduler.0.start_factor", 0.1),
    "fp16": ("precision", "tf32"),
    "compile": ("compile", True),
    "find_unused": ("find_unused_parameters", True),
    "score_thr": ("model.test_cfg.rcnn.score_thr", 0.05),
    "nms": ("model.test_cfg.rcnn.nms.iou_threshold", 0.6),
    "max_per_img": ("model.test_cfg.rcnn.max_per_img", 100),
}


@cache
def compared(name: str) -> list[recipe.FieldComparison]:
    return recipe.compare(EXPERIMENTS[name])


@cache
def cascade() -> Config:
    return cell_config(LVIS, "cascade_r101", "gumbel", seed=0)


def put(config: Config, path: str, value: Any) -> None:
    value = value(config) if callable(value) else value
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    reduce(lambda node, key: node[key], parents, config)[last] = value


def unnamed(comparisons: list[recipe.FieldComparison]) -> set[str]:
    return {each.field for each in comparisons if not each.equal and each.reason is None}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_deviation_of_every_experiment_has_a_reason(name):
    assert not [each for each in compared(name) if not each.equal and each.reason is None]


def test_the_fifteen_cells_of_the_paper_are_compared_in_every_field():
    comparisons = compared("lvis")
    assert len({(each.architecture, each.activation) for each in comparisons}) == 15
    assert len(comparisons) == 15 * len(FACTS["fields"])
    differing = {(each.architecture, each.activation, each.field) for each in comparisons if not each.equal}
    cells = [(one, two) for one in LVIS.architectures for two in LVIS.activations]
    assert differing == (
        {(*cell, field) for cell in cells for field in ("sampler", "pretrained")}
        | {(*cell, "scoring") for cell in cells if cell[1] == "sigmoid"}
        | {(*cell, "find_unused") for cell in cells if cell[0] == "htc_r101"}
        | {("mask_rcnn_x101", "softmax", "batch"), ("htc_r101", "sigmoid", "loss_cls")}
    )


def test_every_released_field_is_compared():
    """Nothing of the released configurations is passed over but names of files and folders."""
    with (CONFIGS / "paper" / "recipes.csv").open() as file:
        columns = set(csv.DictReader(file).fieldnames or [])
    assert columns - {"cell", "activation", "config", "work_dir"} <= set(FIELDS)
    assert len(set(FIELDS)) == len(FIELDS)


#: Fields that no value of a configuration changes to an unnamed one.
SWITCHES = ("dataset", "scoring", "memory_format", "mask_logits")


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in SWITCHES])
def test_a_change_of_a_resolved_configuration_is_an_unnamed_deviation(field):
    config = deepcopy(cascade())
    assert not unnamed(recipe.compare(LVIS, [config]))
    put(config, *CHANGES[field])
    assert field in unnamed(recipe.compare(LVIS, [config]))


@pytest.mark.parametrize(
    ("change", "cell", "field"),
    [
        ({"options": {"gumbel": {"variant": "exact"}}}, "mask_rcnn_r50/gumbel", "loss_cls"),
        ({"released_scoring": []}, "mask_rcnn_r50/sigmoid", "scoring"),
        ({"cells": {}}, "mask_rcnn_x101/sigmoid", "fp16"),
        ({"training": {"precision": "fp16"}}, "mask_rcnn_x101/gumbel", "fp16"),
        ({"classifier": {"weight": 0.001, "bias": {"gumbel": -2.0}}}, "mask_rcnn_r50/gumbel", "other_layers"),
        ({"batch": 32}, "mask_rcnn_r50/gumbel", "batch"),
        ({"oversample": 0.001, "reproduction": False}, "mask_rcnn_r50/gumbel", "oversample_thr"),
        ({"schedule": "schedule_2x", "reproduction": False}, "mask_rcnn_r50/gumbel", "epochs"),
        ({"recipe": "2x", "reproduction": False}, "cascade_r101/gumbel", "recipe"),
    ],
)
def test_a_change_of_an_experiment_is_an_unnamed_deviation(change, cell, field):
    architecture, activation = cell.split("/")
    one = {"architectures": [architecture], "activations": [activation]}
    assert field in unnamed(recipe.compare(matrix.parse(LVIS.model_dump(mode="json") | one | change)))


def test_an_architecture_that_was_not_released_is_compared_with_nothing():
    config = deepcopy(cascade())
    config.cell.architecture = "another"
    (only,) = recipe.compare(LVIS, [config])
    assert (only.field, only.released) == ("recipe", "none")


@pytest.mark.parametrize("activation", activations.names())
def test_an_activation_that_was_not_released_is_compared_with_the_stand_in(activation):
    one = {"architectures": ["mask_rcnn_r50"], "activations": [activation], "released_scoring": []}
    compared = recipe.compare(matrix.parse(LVIS.model_dump(mode="json") | one))
    assert [each.field for each in compared] == FIELDS
    released = {each.field: each.released for each in compared}["loss_cls"]
    assert released.startswith(activation if activation in ("sigmoid", "gumbel") else FACTS["stand_in"])


@pytest.mark.parametrize("fields", [[{"name": "lr"}] * 2, [{"name": "made_up"}], [{"name": "lr", "realesed": 1}]])
def test_a_field_that_stands_there_twice_or_without_a_released_value_is_refused(monkeypatch, fields):
    monkeypatch.setattr(
        recipe.inheritance, "released", lambda: {"fields": [{"label": "", "ours": "lr"} | each for each in fields]}
    )
    with pytest.raises(ValueError, match=r"expected (lr|made_up) once among|Extra inputs"):
        recipe.fields.__wrapped__()


def test_every_named_deviation_occurs():
    """None is left over from an earlier state of the configurations."""
    found = {(each.field, each.reason) for name in EXPERIMENTS for each in compared(name)}
    known = {experiment.dataset for experiment in EXPERIMENTS.values()}
    for deviation in recipe.deviations():
        if deviation.datasets and not known & set(deviation.datasets):
            continue  # on data of one's own
        assert {(field, deviation.reason) for field in deviation.fields} <= found


def test_a_deviation_without_its_values_is_only_for_experiments_on_named_data():
    with pytest.raises(ValueError, match="expected `released` and `ours`, found one missing"):
        recipe.Deviation.model_validate({"fields": ["lr"], "released": 0.02, "reason": "none"})


def test_the_command_prints_every_cell_and_a_last_line_that_counts(capsys):
    main(["recipe", "--diff"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.partition("/")[0] in LVIS.architectures for line in lines) == 15
    assert lines[-1] == "15 cells, 870 fields compared: 830 equal, 40 named deviations, 0 unnamed"


def test_the_command_fails_on_an_unnamed_deviation(tmp_path, capsys):
    changed = LVIS.model_dump(mode="json") | {"architectures": ["mask_rcnn_r50"], "activations": ["gumbel"]}
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(changed | {"options": {}}))
    with pytest.raises(SystemExit, match="found 1 without one; correct the experiment, or name them"):
        main(["recipe", "--diff", "--experiment", str(tmp_path / "changed.yaml")])
    output = capsys.readouterr().out
    assert "UNNAMED    loss_cls: gumbel, released variant -> gumbel, exact variant" in output
    assert output.splitlines()[-1].endswith("2 named deviations, 1 unnamed")
