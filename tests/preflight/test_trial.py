"""A trial measures every row that it is asked for, within its time, whatever becomes of the others."""

import json
import os
import signal
import time

import pytest
import torch

from gumbel.commands import main
from gumbel.experiment import matrix
from gumbel.paths import CONFIGS
from gumbel.preflight import measure, trial
from gumbel.preflight.trial import Row, Step
from tests.detection.conftest import TINY

SMALL = matrix.parse(TINY)
LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")


def test_rows_are_every_architecture_in_every_mode_or_those_that_are_named():
    assert len(trial.rows(LVIS)) == 5 * 7
    assert list(map(str, trial.rows(LVIS, ["htc_r101/fp16+compile", "mask_rcnn_*/bf16"]))) == [
        "htc_r101/fp16+compile",
        "mask_rcnn_r50/bf16",
        "mask_rcnn_r101/bf16",
        "mask_rcnn_x101/bf16",
    ]
    for wrong in ("mask_rcnn/fp32", "mask_rcnn_r50/fp8", "mask_rcnn_r50", "mask_rcnn_r50/fp16+fast"):
        with pytest.raises(ValueError, match=r"expected .*; name another"):
            trial.rows(LVIS, [wrong])


@pytest.mark.parametrize("mode", [*trial.MODES, "fp16+channels_last+compile"])
def test_a_mode_names_a_training_and_a_training_its_mode(mode):
    assert trial.mode_of(trial.training_of(LVIS, mode)) == mode


@WITHOUT_GPU
@pytest.mark.slow
def test_a_trial_measures_prints_a_table_and_goes_on_after_a_row_that_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    experiment = json.dumps({**TINY, "activations": ["softmax", "gumbel"], "widths": {**TINY["widths"]}})
    rows = ["mask_rcnn_r50/fp16", "mask_rcnn_r50/bf16"]
    # The time is for a machine that is busy; a quarter of a second a phase is what is measured
    given = ["--batches", "1", "2", "--device", "cpu", "--seconds", "120", "--only", *rows]
    monkeypatch.setattr(trial, "_MEASURING", 0.01)
    main(["trial", "--experiment", experiment, *given])
    found = trial.read(tmp_path / "results" / "tiny" / "trial.json")
    assert found.device == "cpu"
    failed, row = found.rows
    assert "expected a GPU for fp16" in failed.problem
    assert (row.architecture, row.mode, row.problem) == ("mask_rcnn_r50", "bf16", None)
    assert [step.images for step in row.steps] == [1, 2]
    assert all(step.seconds > 0 for step in row.steps)
    for step in row.steps:
        assert set(step.loss_shares) == {"softmax", "gumbel"}
        assert all(0 < share < 1 for share in step.loss_shares.values())
    assert row.images_per_second > 0
    assert row.encoded_per_second > 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("mask_rcnn_r50/bf16 ")
    assert trial.line(row, [1, 2]) == lines[-1]


def test_a_row_ends_when_its_time_is_over_with_what_it_has_found():
    process = trial._Process()
    start = time.monotonic()
    row = process.measure(Row("mask_rcnn_r50", "fp32", [Step(1, 1.0, 0.0, {})]), (SMALL,), 0.2)
    assert row.problem == "out of time"
    assert [step.images for step in row.steps] == [1]
    assert time.monotonic() - start < 5
    assert not process.process.is_alive()


def test_a_process_that_dies_is_a_row_with_a_problem():
    process = trial._Process()
    os.kill(process.process.pid, signal.SIGKILL)
    assert process.measure(Row("mask_rcnn_r50", "fp32"), (), 60.0).problem == "the process ended with status -9"


def test_rows_that_are_not_tried_anew_are_kept_unless_they_are_another_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "_tried", lambda experiment, rows, *_: iter(rows))
    output = tmp_path / "trial.json"
    for row in ("mask_rcnn_r50/fp32", "htc_r101/fp32", "mask_rcnn_r50/fp32"):
        found = trial.trial(SMALL, output, [row], device="cpu")
    assert sorted(map(str, found.rows)) == ["htc_r101/fp32", "mask_rcnn_r50/fp32"]
    monkeypatch.setattr(trial, "device_name", lambda device: "another")
    assert [*map(str, trial.trial(SMALL, output, ["htc_r101/bf16"], device="cpu").rows)] == ["htc_r101/bf16"]


def test_a_training_is_given_the_row_of_its_mode_and_the_step_nearest_to_its_images():
    steps = [Step(4, 1.0, 0.0, {}), Step(16, 3.0, 0.0, {})]
    found = trial.Trial("lvis", "A", "2", None, "", [Row("htc_r101", "fp16", steps), Row("htc_r101", "fp32")])
    assert found.row("htc_r101", trial.training_of(LVIS, "fp16")).nearest(8).images == 4
    assert found.row("htc_r101", trial.training_of(LVIS, "fp32")) is None  # it found nothing
    assert found.row("htc_r101", trial.training_of(LVIS, "bf16")) is None


def test_noise_has_as_many_objects_as_lvis_within_the_image():
    batch = measure.noise((800, 1344), 1203, images=2, objects=measure.OBJECTS)
    for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
        assert image.shape == (3, 800, 1344)
        boxes, masks = sample.gt_instances.bboxes, sample.gt_instances.masks
        assert len(boxes) == len(masks) == 12
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= torch.tensor([1344.0, 800.0])).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= torch.tensor([1344.0, 800.0]) / 41).all()
        areas = torch.tensor(masks.masks.sum((1, 2)), dtype=torch.float32)
        torch.testing.assert_close(areas, (boxes[:, 2:] - boxes[:, :2]).prod(1), rtol=0.15, atol=0)


def test_prediction_scores_ten_categories_a_region_under_every_activation():
    from gumbel import activations

    scattered = measure._scatter(None, None, torch.zeros(50, 1204))
    for name in ("softmax", "sigmoid", "gumbel"):
        passed = (activations.get(name).scores(scattered) > 1e-4).sum(1)
        assert set(passed.tolist()) == {measure.CANDIDATES}
