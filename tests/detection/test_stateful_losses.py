"""Losses that count what they have seen: stored, taken up after an interruption, scored and predicted with."""

import re
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from mmengine.config import Config

from gumbel import activations
from gumbel.analysis.weight_norms import weight_norms
from gumbel.detection.compose import write_configs
from gumbel.detection.predict import predict
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import ExperimentPaths, TrainingPaths
from tests.detection.conftest import TINY
from tests.detection.test_interruption import assert_equal_results, at_checkpoint, run, start

STATEFUL = [name for name in activations.names() if activations.get(name).loss is None]
ITERATIONS = 10
FILES = ExperimentPaths("tiny")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return matrix.parse({**TINY, "architectures": ["mask_rcnn_r50"], "activations": STATEFUL, "released_scoring": []})


@pytest.fixture(scope="module")
def folder(experiment, tiny_data, tmp_path_factory) -> Path:
    """A working folder with data, short configurations, a warm start, and every training as nothing disturbed it."""
    folder = tmp_path_factory.mktemp("stateful")
    (folder / "data").symlink_to(tiny_data / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for path in write_configs(experiment):
            text = re.sub(r"max_iters=\d+", f"max_iters={ITERATIONS}", path.read_text())
            path.write_text(re.sub(r"interval=\d+, keep", "interval=2, keep", text))
        run(folder, FILES.warm_start("mask_rcnn_r50"))
        for name in STATEFUL:
            run(folder, FILES.cell("mask_rcnn_r50", name, 0))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("activation", STATEFUL)
def test_a_stopped_and_a_killed_training_go_on_with_what_the_loss_has_counted(folder, activation, monkeypatch):
    monkeypatch.chdir(folder)
    whole = FILES.cell("mask_rcnn_r50", activation, 0)
    counted = {name: value for name, value in weights(whole).items() if ".loss_cls." in name}
    assert counted
    assert any(value.any() for value in counted.values())
    disturbed = TrainingPaths(folder / "disturbed" / activation)
    disturbed.root.mkdir(parents=True)
    Config.fromfile(whole.config).dump(disturbed.config)
    reached = 0
    for sign in (signal.SIGTERM, signal.SIGKILL):
        process = start(folder, disturbed)
        reached = at_checkpoint(process, disturbed, reached)
        process.send_signal(sign)
        process.communicate()
    run(folder, disturbed)
    assert_equal_results(whole, disturbed)


@pytest.mark.slow
@pytest.mark.parametrize("activation", STATEFUL)
def test_it_starts_from_the_warm_start_and_its_detections_are_scored_by_it(folder, activation, monkeypatch):
    monkeypatch.chdir(folder)
    cell = FILES.cell("mask_rcnn_r50", activation, 0)
    warm, own = weights(FILES.warm_start("mask_rcnn_r50")), weights(cell)
    layer = next(name for name in own if name.endswith("rpn_conv.weight"))
    # Of thousands of weights: two starts at random would be at right angles
    assert torch.cosine_similarity(own[layer].flatten(), warm[layer].flatten(), dim=0) > 0.5
    predict(cell.config, cell.checkpoint, {("val", "matched"): cell.predictions("val", "matched")})
    table = pq.read_table(cell.predictions("val", "matched"))
    scores = table["score"].to_numpy()
    assert len(scores)
    assert ((scores > 0) & (scores <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("activation", STATEFUL)
def test_norms_are_of_the_categories_alone(folder, activation, monkeypatch):
    monkeypatch.chdir(folder)
    cell = FILES.cell("mask_rcnn_r50", activation, 0)
    layer = weights(cell)["roi_head.bbox_head.fc_cls.weight"]
    assert len(layer) == activations.get(activation).outputs(9)
    norms = weight_norms(cell.checkpoint, Path("data/mini/train.json"))["norm"].to_numpy()
    torch.testing.assert_close(torch.tensor(norms), layer[:9].double().norm(dim=1))


def weights(paths: TrainingPaths) -> dict[str, torch.Tensor]:
    return torch.load(paths.checkpoint, weights_only=True)
