"""What is found out of a cell's model: a wrong start, a wrong scoring, a lost gradient; and what it costs."""

import json
from dataclasses import asdict

import pytest
import torch
from mmdet.registry import MODELS

from gumbel.detection.losses import ActivationLoss
from gumbel.experiment import matrix
from gumbel.jobs.files import write_json
from gumbel.paths import CONFIGS, ExperimentPaths
from gumbel.preflight import cells, doctor, trial
from gumbel.preflight.checks import Check
from gumbel.preflight.costs import published

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
MINI = matrix.load(CONFIGS / "experiments" / "mini.yaml")
GOL = matrix.load(CONFIGS / "experiments" / "gol.yaml")
FIRST = matrix.Cell("mask_rcnn_r50", "softmax", 0)


def failed(found: list[Check]) -> list[str]:
    return [check.name.rpartition(" ")[2] for check in found if not check.passed]


@pytest.mark.parametrize("experiment", [MINI, GOL], ids=["mini", "gol"])
def test_every_cell_passes(experiment):
    for cell in matrix.cells(experiment):
        found, _ = cells.examine(experiment, cell)
        assert failed(found) == []
        assert len(found) == 4


@pytest.mark.parametrize(("activation", "loss"), [("softmax", "7.09"), ("sigmoid", "8.31"), ("gumbel", "8.13")])
def test_the_loss_at_the_start_is_the_released_one(activation, loss):
    found, _ = cells.examine(LVIS, matrix.Cell("mask_rcnn_r50", activation, 0))
    assert failed(found) == []
    assert any(check.found == f"loss {loss} at the start, scored by {activation}" for check in found)


def broken(change, cell: matrix.Cell, monkeypatch) -> list[str]:
    """Names of the checks that fail once ``change`` has been made to the model of ``cell``."""
    build = cells.build

    def wrong(config):
        model = build(config)
        change(model)
        return model

    monkeypatch.setattr(cells, "build", wrong)
    found, _ = cells.examine(MINI, cell)
    return failed(found)


def test_a_bias_that_gives_another_loss_is_found(monkeypatch):
    def change(model):
        model.roi_head.bbox_head.loss_cls = MODELS.build(dict(type="CrossEntropyLoss", loss_weight=0.5))

    assert broken(change, FIRST, monkeypatch) == ["activation"]


def test_a_head_that_is_scored_by_another_activation_is_found(monkeypatch):
    def change(model):
        model.roi_head.bbox_head.loss_cls.get_activation = ActivationLoss("softmax").get_activation

    assert broken(change, matrix.Cell("mask_rcnn_r50", "gumbel", 0), monkeypatch) == ["activation"]


def test_a_parameter_without_gradient_is_found(monkeypatch):
    def change(model):
        model.roi_head.unused = torch.nn.Linear(2, 2)

    assert broken(change, FIRST, monkeypatch) == ["gradients"]


def test_a_parameter_that_is_frozen_by_mistake_is_found(monkeypatch):
    def change(model):
        model.neck.requires_grad_(False)

    assert broken(change, FIRST, monkeypatch) == ["gradients"]


def test_a_loss_that_is_not_finite_is_found(monkeypatch):
    def change(model):
        torch.nn.init.constant_(model.roi_head.bbox_head.fc_reg.bias, float("inf"))

    assert "step" in broken(change, FIRST, monkeypatch)


def test_flops_are_those_of_mmdets_table():
    """The model zoo's tool counts some 260 to 290 G multiply-adds of Mask R-CNN R50 at 1280 x 800 with 80 classes."""
    _, cost = cells.examine(LVIS, FIRST)
    assert 2 * 230e9 < cost.flops < 2 * 330e9
    assert cost.parameters == pytest.approx(50.44e6, rel=1e-3)
    assert cost.images == 74_544 * 16
    assert not cost.measured
    # Four images on a GPU of 24 GB train, as the authors did; a smaller estimate than the weights would be absurd
    assert 3 * 4 * cost.parameters < cost.memory_bytes < 24e9
    # What is counted of the published training is what its record says was counted, so that it is estimated as it was
    assert cost.flops == pytest.approx(published().counted_flops, rel=1e-3)
    assert cost.seconds / 3600 == pytest.approx(published().gpu_hours, rel=0.01)
    assert cost.memory_bytes == pytest.approx(published().memory_bytes, rel=0.01)


def test_counted_flops_of_a_convolution_are_the_closed_form():
    """Of the mini model's first convolution, 7 x 7 x 3 x 16 at half of 128 x 128, doubled: a part of the whole."""
    _, cost = cells.examine(MINI, FIRST)
    assert cost.flops > 2 * 7 * 7 * 3 * 16 * 64 * 64


def test_the_doctor_keeps_what_it_found_and_fails_on_a_single_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = MINI.model_copy(update={"architectures": ["mask_rcnn_r50"], "activations": ["gumbel"]})
    output = tmp_path / "doctor.json"
    doctor.doctor(small, output, skip=["gpu", "data"])
    record = json.loads(output.read_text())
    assert record["passed"]
    assert record["skipped"] == ["data", "gpu"]
    assert len(record["costs"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{len(record['checks'])} of {len(record['checks'])} checks passed; skipped: data, gpu"
    with pytest.raises(ValueError, match="found 1 that did not: data"):
        doctor.doctor(small, output, skip=["gpu"])
    assert not json.loads(output.read_text())["passed"]
    assert not torch.cuda.is_available()
    with pytest.raises(ValueError, match="GPUs"):
        doctor.doctor(small, output, skip=["data"])


def test_a_kept_trial_decides_the_hours_of_a_machine_without_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = MINI.model_copy(update={"architectures": ["mask_rcnn_r50", "htc_r101"], "activations": ["gumbel"]})
    output = tmp_path / "doctor.json"
    doctor.doctor(small, output, skip=["gpu", "data"])
    estimated = json.loads(output.read_text())["costs"]
    assert [cost["measured"] for cost in estimated] == [False, False]
    assert "as mask_rcnn_r50 sustained on Tesla V100" in capsys.readouterr().out
    step = trial.Step(images=4, seconds=2.0, memory_bytes=3e9, loss_shares={})
    kept = trial.Trial("mini", "A", "2", "12", "", [trial.Row("mask_rcnn_r50", "fp32", [step])])
    write_json(ExperimentPaths("mini").trial, asdict(kept))
    doctor.doctor(small, output, skip=["gpu", "data"])
    record = json.loads(output.read_text())
    one, other = record["costs"]
    # Two seconds for four images; the other model at the speed of the first
    assert (one["measured"], other["measured"]) == (True, False)
    assert one["seconds"] == pytest.approx(one["images"] * 0.5)
    assert one["memory_bytes"] == 3e9
    assert other["seconds"] / one["seconds"] == pytest.approx(other["flops"] / one["flops"])
    assert record["trial"]["device"] == "A"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.endswith(("measured", "estimated"))] == ["measured", "estimated"]
