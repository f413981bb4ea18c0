"""Training, interruption and prediction, as the stages run them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gumbel.detection.compose import write_configs
from gumbel.detection.loop import seed_generators
from gumbel.jobs import status
from gumbel.paths import ExperimentPaths

ITERATIONS = 8
CLASSIFIER = "roi_head.bbox_head.fc_cls.weight"


@pytest.fixture(scope="module")
def folder(tiny, tiny_data, tmp_path_factory) -> Path:
    """A working folder with data, short configurations and a trained warm start."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "data").symlink_to(tiny_data / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for path in write_configs(tiny):
            text = re.sub(r"max_iters=\d+", f"max_iters={ITERATIONS}", path.read_text())
            path.write_text(re.sub(r"interval=\d+, keep", "interval=2, keep", text))
    run(folder, ExperimentPaths("tiny").warm_start("mask_rcnn_r50").config)
    return folder


def start(folder: Path, config: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gumbel", "train", str(config)]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def run(folder: Path, config: Path) -> str:
    process = start(folder, config)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def cell(seed_root: Path, activation: str = "gumbel"):
    return ExperimentPaths("tiny").cell("mask_rcnn_r50", activation, 0)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_a_training_killed_at_any_moment_ends_with_the_same_bits(folder, tmp_path):
    """kill -9 between and during checkpoints; the disturbed run's weights equal the undisturbed one's."""
    files = cell(folder)
    run(folder, files.config)
    undisturbed, halfway = weights(folder / files.checkpoint), weights(folder / files.at(50).checkpoint)
    assert not torch.equal(undisturbed[CLASSIFIER], halfway[CLASSIFIER])
    history = pd.read_parquet(folder / files.history)
    shutil.rmtree(folder / files.work_dir)
    (folder / files.checkpoint).unlink()
    (folder / files.at(50).checkpoint).unlink()
    (folder / files.status).unlink()

    kills = 0
    for stop_at in (1, 5):
        process = start(folder, files.config)
        while process.poll() is None:
            current = status.read(folder / files.status)
            saved = list((folder / files.work_dir).glob("*/iter_*.pth"))
            if current is not None and len(saved) and current.state == "running" and _newest(saved) >= stop_at:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        process.communicate()
        if (folder / files.checkpoint).exists():
            break
    assert kills >= 1
    if not (folder / files.checkpoint).exists():
        run(folder, files.config)
    for expected, path in ((undisturbed, files.checkpoint), (halfway, files.at(50).checkpoint)):
        disturbed = weights(folder / path)
        assert all(torch.equal(disturbed[name], tensor) for name, tensor in expected.items())
    again = pd.read_parquet(folder / files.history)
    columns = [name for name in history if name not in ("seconds", "waited")]
    pd.testing.assert_frame_equal(history[columns], again[columns])
    assert json.loads((folder / files.manifest).read_text())["resumed_from"] is not None


def _newest(saved: list[Path]) -> int:
    return max(int(path.stem.removeprefix("iter_")) for path in saved)


@pytest.mark.slow
def test_the_record_of_a_training_is_read_from_the_run(folder):
    files = cell(folder, "sigmoid")
    output = run(folder, files.config)
    assert re.search(r"mask_rcnn_r50/sigmoid/seed0 +iteration +8/8 +loss +[\d.]+ +ETA 00:00", output)
    manifest = json.loads((folder / files.manifest).read_text())
    assert manifest["iterations"] == ITERATIONS
    assert manifest["batch_size"] == 4
    assert manifest["seed"] == 0
    assert "activation=sigmoid, scoring=sigmoid" in manifest["loss_cls"][0]
    assert manifest["versions"]["mmdet"] == "3.3.0"
    history = pd.read_parquet(folder / files.history)
    assert history["iteration"].tolist() == list(range(1, ITERATIONS + 1))
    assert {"loss", "loss_cls", "loss_bbox", "loss_mask", "acc", "lr", "seconds", "waited"} <= set(history.columns)
    done = status.read(folder / files.status)
    assert (done.state, done.iteration) == ("done", ITERATIONS)
    assert not list((folder / files.work_dir).rglob("iter_*")), "what only serves to go on is removed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        # Fewer categories would train in silence, and more of them fail on a GPU without saying why
        ("data/mini/warm_start.json", "expected 9 categories, as the configuration says, found 8 in {}"),
        ("data/none/train.json", "expected {0}, found nothing there; run `snakemake {0}`"),
    ],
)
def test_other_data_and_missing_data_are_refused_before_the_first_step(folder, tmp_path, annotations, message):
    config = tmp_path / "config.py"
    config.write_text((folder / cell(folder).config).read_text().replace("data/mini/train.json", annotations))
    process = start(folder, config)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert message.format(annotations) in errors
    assert "Traceback" not in errors
    done = status.read(tmp_path / "status.json")
    assert (done.state, done.iteration) == ("failed", 0)


def test_random_numbers_depend_on_seed_stream_and_count_alone():
    def draw(seed, count, stream=0):
        seed_generators(seed, stream, count)
        return torch.rand(1).item(), np.random.rand()  # noqa: NPY002 - the generator that mmdet draws from

    first = draw(0, 5)
    draw(0, 6)
    assert draw(0, 5) == first
    assert draw(0, 6) != first
    assert draw(1, 5) != first
    assert draw(0, 5, stream=1) != first


@pytest.mark.slow
def test_predictions_hold_the_models_own_detections(folder, monkeypatch):
    """The written rows equal what mmdet's ``test_step`` returns, box by box and mask by mask."""
    from mmengine.config import Config
    from mmengine.runner import Runner
    from pycocotools import mask as coco_mask

    from gumbel.detection.predict import build_trained, predict
    from gumbel.evaluation.predictions import read_predictions

    monkeypatch.chdir(folder)
    files = cell(folder, "softmax")
    if not files.checkpoint.exists():
        run(folder, files.config)
    output = files.predictions("val", "matched")
    predict(files.config, files.checkpoint, {("val", "matched"): output})
    table = read_predictions(output)

    config = Config.fromfile(files.config)
    model = build_trained(config, files.checkpoint)
    loader = Runner.build_dataloader(config.test_dataloaders["val"])
    with torch.inference_mode():
        samples = [sample for batch in loader for sample in model.test_step(batch)]
    assert len(table) == sum(len(sample.pred_instances) for sample in samples) > 0
    sample = max(samples, key=lambda sample: len(sample.pred_instances))
    rows = np.flatnonzero(table.image_id == sample.img_id)
    instances = sample.pred_instances
    np.testing.assert_array_equal(table.score[rows], instances.scores.double().numpy())
    np.testing.assert_array_equal(table.category_id[rows], np.asarray(loader.dataset.cat_ids)[instances.labels.numpy()])
    for mask, expected in zip(table.shapes.take(rows).masks(), instances.masks.numpy(), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(mask).astype(bool), expected)
