"""The classification layer alone: what is stored is what mmdet computes, and nothing else of the detector changes."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from gumbel.detection.checkpoints import save_weights
from gumbel.detection.compose import write_configs
from gumbel.detection.head_only import _tensors, store_features, train_head
from gumbel.detection.loop import BATCH, seed_generators
from gumbel.detection.parts import box_heads
from gumbel.detection.predict import build_model, predict
from gumbel.evaluation.predictions import read_predictions
from gumbel.paths import CellPaths, ExperimentPaths

FILES = ExperimentPaths("tiny")
ARCHITECTURES = ["mask_rcnn_r50", "cascade_r101", "htc_r101"]
ITERATIONS = 12
BATCHES = 6  # of the 24 images, 4 each
ROIS = 8


@pytest.fixture(scope="module")
def folder(tiny, tiny_data, tmp_path_factory) -> Path:
    """Data, short configurations, and for each architecture a detector with its stored features."""
    folder = tmp_path_factory.mktemp("head_only")
    (folder / "data").symlink_to(tiny_data / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for path in write_configs(tiny):
            path.write_text(re.sub(r"max_iters=\d+", f"max_iters={ITERATIONS}", path.read_text()))
        for name in ARCHITECTURES:
            detector = FILES.cell(name, "softmax", 0)
            save_weights(_random_detector(detector.config), detector.checkpoint)
            store_features(detector.config, detector.checkpoint, 10_000, ROIS, FILES.head_only_features(name, 0))
    return folder


def _random_detector(config: Path) -> torch.nn.Module:
    """A detector whose normalisations and classifiers are far from their start, as a trained one's are."""
    torch.manual_seed(1)
    model = build_model(Config.fromfile(config))
    for head in box_heads(model):
        torch.nn.init.normal_(head.fc_cls.weight, std=0.3)
    return model


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def train(architecture: str, activation: str, root: Path | None = None) -> CellPaths:
    detector, cell = FILES.cell(architecture, "softmax", 0), FILES.cell(architecture, activation, 0)
    target = CellPaths(root) if root else FILES.head_only(architecture, activation, 0)
    train_head(cell.config, detector.checkpoint, FILES.head_only_features(architecture, 0), target.root)
    return target


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_detectors_own_layer_has_mmdets_loss_on_the_stored_features(here, architecture):
    detector = FILES.cell(architecture, "softmax", 0)
    config = Config.fromfile(detector.config)
    for stage in config.model.train_cfg.rcnn if architecture != "mask_rcnn_r50" else [config.model.train_cfg.rcnn]:
        stage.sampler.num = ROIS
    model = build_model(config)
    model.load_state_dict(torch.load(detector.checkpoint, weights_only=True))
    model.eval()
    iterator = iter(Runner.build_dataloader(config.train_dataloader))
    seed_generators(0, BATCH, 0)
    with torch.no_grad():
        losses = model(**model.data_preprocessor(next(iterator), training=True), mode="loss")

    stored = pq.ParquetFile(FILES.head_only_features(architecture, 0)).read_row_group(0)
    for stage, head in enumerate(box_heads(model)):
        features, label, weight = _tensors(stored, stage, torch.device("cpu"))
        name = "loss_cls" if architecture == "mask_rcnn_r50" else f"s{stage}.loss_cls"
        own = torch.nn.functional.cross_entropy(head.fc_cls(features), label, reduction="none")
        scale = 1 if architecture == "mask_rcnn_r50" else model.roi_head.stage_loss_weights[stage]
        found = scale * (own * weight).sum() / (weight > 0).sum()
        assert found.item() == pytest.approx(losses[name].item(), rel=2e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_training_image_is_stored_once_and_no_more_rois_than_asked(here, architecture):
    stored = pq.ParquetFile(FILES.head_only_features(architecture, 0))
    assert stored.num_row_groups == BATCHES
    table = stored.read(columns=["stage", "label", "weight"]).to_pandas()
    stages = 1 if architecture == "mask_rcnn_r50" else 3
    assert sorted(table["stage"].unique()) == list(range(stages))
    assert (table.groupby("stage").size() <= BATCHES * 4 * ROIS).all()
    # A quarter of the RoIs at most shows an object; the others are background, the class after the 9
    share = (table["label"] < 9).mean()
    assert 0 < share <= 0.25
    assert table["label"].max() == 9


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", ["softmax", "gumbel"])
def test_training_changes_the_classification_layers_and_nothing_else(here, architecture, activation):
    files = train(architecture, activation)
    frozen = torch.load(FILES.cell(architecture, "softmax", 0).checkpoint, weights_only=True)
    trained = torch.load(files.checkpoint, weights_only=True)
    assert trained.keys() == frozen.keys()
    changed = {name for name in frozen if not torch.equal(trained[name], frozen[name])}
    assert changed == {name for name in frozen if ".fc_cls." in name}
    history = pd.read_parquet(files.history)
    assert history["iteration"].tolist() == list(range(1, ITERATIONS + 1))
    assert history["loss"].iloc[-3:].mean() < history["loss"].iloc[:3].mean()
    record = json.loads(files.manifest.read_text())
    outputs = sum(trained[name].numel() for name in changed)
    assert (record["iterations"], record["trained_parameters"]) == (ITERATIONS, outputs)
    assert activation == "softmax" or "activation=gumbel" in record["loss_cls"][0]


def test_the_same_features_give_the_same_layer(here, tmp_path):
    first, second = (train("mask_rcnn_r50", "sigmoid", tmp_path / name) for name in ("a", "b"))
    one, other = (torch.load(files.checkpoint, weights_only=True) for files in (first, second))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_prediction_stage_reads_the_result_as_any_checkpoint(here, tmp_path):
    files = train("mask_rcnn_r50", "gumbel", tmp_path)
    output = files.predictions("val", "matched")
    predict(FILES.cell("mask_rcnn_r50", "gumbel", 0).config, files.checkpoint, {("val", "matched"): output})
    assert "activation=gumbel" in read_predictions(output).metadata["loss_cls"]


def test_features_of_other_weights_are_refused(here, tmp_path):
    cell = FILES.cell("mask_rcnn_r50", "softmax", 0)
    other = tmp_path / "other.pth"
    save_weights(build_model(Config.fromfile(cell.config)), other)
    with pytest.raises(
        ValueError, match=r"expected .*features.parquet of the weights .*other.pth, found those of others"
    ):
        train_head(cell.config, other, FILES.head_only_features("mask_rcnn_r50", 0), tmp_path)
    assert not (tmp_path / "train").exists()
