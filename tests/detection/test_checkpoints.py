"""Weights on disk, and a warm start fitted to other categories."""

from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn

from gumbel.detection.checkpoints import adapt, latest_checkpoint, load_checkpoint, load_weights, save_weights
from gumbel.detection.compose import cell_config, warm_start_config
from gumbel.experiment import matrix


def build(config):
    init_default_scope("mmdet")
    return MODELS.build(config.model)


def test_weights_survive_the_disk_bit_for_bit(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    save_weights(model, tmp_path / "a" / "checkpoint.pth")
    loaded = load_weights(tmp_path / "a" / "checkpoint.pth")
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in model.state_dict().items())


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_execute_code_is_refused(tmp_path, capsys, legacy):
    torch.save({"weight": Malicious()}, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"would call builtins.print, which was not run"):
        load_weights(tmp_path / "bad.pth")
    assert "executed" not in capsys.readouterr().out


def history() -> HistoryBuffer:
    buffer = HistoryBuffer()
    buffer.update(0.5)
    return buffer


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "record",
    [
        history(),
        Config({"a": {"b": 1}}),
        InstanceData(a=torch.zeros(2)),
        {1, 2},
        frozenset({1}),
        [slice(1, 2), range(3), 1j, bytearray(b"a"), int],
        Counter("aab"),
        Namespace(rate=0.1),
        PurePosixPath("/work"),
        datetime(2024, 1, 2, tzinfo=UTC),
        np.random.RandomState(0).get_state(),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_beside_the_weights_are_passed_over_in_both_forms_of_pytorchs_files(tmp_path, record, legacy):
    content = {"state_dict": {"weight": torch.arange(3.0)}, "meta": {"record": record, "epoch": 12}}
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    weights, meta = load_checkpoint(tmp_path / "c.pth")
    assert torch.equal(weights["weight"], torch.arange(3.0))
    assert meta["epoch"] == 12


@pytest.mark.parametrize("architecture", ["mask_rcnn_r50", "cascade_r101", "htc_r101"])
def test_every_category_gets_the_warm_starts_class_agnostic_rows(tiny, architecture):
    start = build(warm_start_config(tiny, architecture))
    model = build(cell_config(tiny, architecture, "gumbel", seed=0))
    adapted = adapt(start.state_dict(), model)
    missing, unexpected = model.load_state_dict(adapted, strict=False)
    assert unexpected == []
    assert missing
    assert all(".fc_cls." in name for name in missing)

    mask_name = next(name for name in adapted if name.endswith("conv_logits.weight"))
    masks = model.state_dict()[mask_name]
    assert masks.shape[0] == matrix.data(tiny).settings.categories
    assert all(torch.equal(row, start.state_dict()[mask_name][0]) for row in masks)
    if architecture == "mask_rcnn_r50":
        features = torch.randn(2, tiny.widths.fpn_channels, 7, 7)
        agnostic = start.roi_head.bbox_head(features)[1]
        specific = model.roi_head.bbox_head(features)[1].view(2, matrix.data(tiny).settings.categories, 4)
        torch.testing.assert_close(specific, agnostic[:, None].expand_as(specific))


def test_the_start_of_the_three_activations_is_the_same_but_for_the_classifier(tiny):
    start = build(warm_start_config(tiny, "mask_rcnn_r50")).state_dict()
    adapted = [adapt(start, build(cell_config(tiny, "mask_rcnn_r50", name, 0))) for name in tiny.activations]
    assert all(torch.equal(adapted[0][name], other[name]) for other in adapted[1:] for name in adapted[0])


def test_a_warm_start_of_another_architecture_is_refused_with_the_shapes(tiny):
    start = build(warm_start_config(tiny, "mask_rcnn_r50")).state_dict()
    with pytest.raises(ValueError, match=r"expected .* found"):
        adapt(start, build(cell_config(tiny, "cascade_r101", "gumbel", 0)))


def test_a_truncated_checkpoint_gives_way_to_the_one_before_it(tmp_path):
    for iteration in (50, 100, 150):
        torch.save({"iteration": iteration}, tmp_path / f"iter_{iteration}.pth")
    newest = tmp_path / "iter_150.pth"
    newest.write_bytes(newest.read_bytes()[:100])
    assert latest_checkpoint(tmp_path) == tmp_path / "iter_100.pth"
    assert latest_checkpoint(tmp_path / "nothing") is None


def test_the_same_weights_are_the_same_file_whoever_writes_them(tmp_path, monkeypatch):
    model = nn.Linear(3, 2)
    save_weights(model, tmp_path / "one.pth")
    monkeypatch.setattr("os.getpid", lambda: 7)
    save_weights(model, tmp_path / "other.pth")
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()
