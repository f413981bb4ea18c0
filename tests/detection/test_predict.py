"""Predictions that are cut short, shared, or made for several scorings at once: always the same file."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from pycocotools import mask as coco_mask

from gumbel.detection import predict as module
from gumbel.detection.checkpoints import load_weights, save_weights
from gumbel.detection.compose import cell_config
from gumbel.detection.losses import set_scoring
from gumbel.detection.predict import build_model, build_trained, predict
from gumbel.evaluation.predictions import read_predictions

ARCHITECTURES = ["mask_rcnn_r50", "cascade_r101", "htc_r101"]
PAIRS = [("val", "matched"), ("val", "released")]
PART = 1  # image: six parts


@pytest.fixture(scope="module")
def cells(tiny, tiny_data, tmp_path_factory) -> Path:
    """A folder with data, and of each architecture a configuration and weights that find something everywhere."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / "data").symlink_to(tiny_data / "data")
    for architecture in ARCHITECTURES:
        config = cell_config(tiny, architecture, "sigmoid", 0)
        config.test_dataloaders.val.batch_size = 1
        (folder / f"{architecture}.py").write_text(config.pretty_text)
        torch.manual_seed(0)
        model = build_model(Config.fromfile(folder / f"{architecture}.py"))
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "backbone" not in name:
                torch.nn.init.normal_(parameter, std=0.1)
        save_weights(model, folder / f"{architecture}.pth")
    return folder


@pytest.fixture(autouse=True)
def here(cells, monkeypatch):
    monkeypatch.chdir(cells)
    monkeypatch.setattr(module, "PART", PART)


def outputs(folder: Path) -> dict[tuple[str, str], Path]:
    return {(split, scoring): folder / split / f"{scoring}.parquet" for split, scoring in PAIRS}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def whole(cells, tmp_path_factory) -> Path:
    """What one process predicts that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cells)
        patch.setattr(module, "PART", PART)
        predict(Path("mask_rcnn_r50.py"), Path("mask_rcnn_r50.pth"), outputs(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_pass_for_both_scorings_finds_what_the_model_finds_under_each(architecture, tmp_path):
    """Against mmdet's ``test_step``, its pasted masks, and pycocotools."""
    files = Path(f"{architecture}.py"), Path(f"{architecture}.pth")
    predict(*files, outputs(tmp_path))
    config = Config.fromfile(files[0])
    model = build_trained(config, files[1])
    loader = Runner.build_dataloader(config.test_dataloaders["val"])
    scores = []
    for (_, scoring), path in outputs(tmp_path).items():
        set_scoring(model, scoring)
        found = read_predictions(path)
        with torch.inference_mode():
            samples = [sample for batch in loader for sample in model.test_step(batch)]
        assert len(found) == sum(len(sample.pred_instances) for sample in samples) > 50
        for sample in samples:
            rows, expected = np.flatnonzero(found.image_id == sample.img_id), sample.pred_instances.numpy()
            assert found.score[rows].tolist() == expected.scores.tolist()
            assert found.category_id[rows].tolist() == np.asarray(loader.dataset.cat_ids)[expected.labels].tolist()
            corners = expected.bboxes.astype(np.float64)
            boxes = np.c_[corners[:, :2], corners[:, 2:] - corners[:, :2]]
            np.testing.assert_array_equal(found.shapes.box[rows], boxes)
            masks = coco_mask.decode(found.shapes.take(rows).masks())
            # mmdet adds up the logits of all classes at once, and so in another order
            assert (masks.transpose(2, 0, 1) != expected.masks).mean() < 1e-5
        scores.append(found.score)
    assert not np.array_equal(*scores), "the scorings differ, or this test shows nothing"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_detections_do_not_depend_on_how_the_model_lies_in_memory(architecture):
    """What predicts, on a CPU channels-last, against the model as mmdet builds it."""
    config, weights = Config.fromfile(f"{architecture}.py"), Path(f"{architecture}.pth")
    plain = build_model(config).eval()
    plain.load_state_dict(load_weights(weights))
    batch = next(iter(Runner.build_dataloader(config.test_dataloaders["val"])))
    with torch.inference_mode():
        one, other = (
            model.test_step(batch)[0].pred_instances.numpy() for model in (plain, build_trained(config, weights))
        )
    assert len(one) > 5
    for values, others in zip(one.values(), other.values(), strict=True):
        np.testing.assert_allclose(others, values, rtol=1e-3, atol=1e-3)


RUN = f"""
import os, signal, sys, threading
from pathlib import Path
from gumbel.detection import predict as module

write, module.PART = module._write, {PART}
batches = 0

def write_until_killed(*arguments):
    global batches
    batches += 1
    if batches == int(sys.argv[2]):
        threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL)).start()
    write(*arguments)

if len(sys.argv) > 2:
    module._write = write_until_killed
outputs = {{pair: Path(sys.argv[1], pair[0], pair[1] + ".parquet") for pair in {PAIRS}}}
module.predict(Path("mask_rcnn_r50.py"), Path("mask_rcnn_r50.pth"), outputs)
os._exit(0)
"""


def run(cells: Path, folder: Path, *options: str, launcher: tuple[str, ...] = ()) -> int:
    """Predict into ``folder`` in processes of their own; return how they ended."""
    script = folder.with_suffix(".script.py")
    script.write_text(RUN)
    command = [sys.executable, *launcher, str(script), str(folder), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(command, cwd=cells, env=environment, stdout=subprocess.DEVNULL).returncode


@pytest.mark.slow
def test_a_prediction_that_is_killed_at_any_moment_ends_in_the_same_file(cells, whole, tmp_path):
    draw = random.Random(0)
    kills = resumed = 0
    folder = tmp_path / "out"
    while kills < 10:
        found = len(list(folder.rglob("[0-9]*.parquet")))
        ended = run(cells, folder, str(draw.randint(1, 4)), str(draw.uniform(0, 0.05)))
        if ended == 0:
            assert contents(folder) == contents(whole)
            shutil.rmtree(folder)
        else:
            assert ended == -signal.SIGKILL
            kills, resumed = kills + 1, resumed + (found > 0)
    assert run(cells, folder) == 0
    assert contents(folder) == contents(whole)
    assert resumed >= 1, "no attempt found parts of an earlier one"


@pytest.mark.slow
def test_processes_that_share_a_prediction_write_the_same_file(cells, whole, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert run(cells, tmp_path / "out", launcher=launcher) == 0
    assert contents(tmp_path / "out") == contents(whole)


@pytest.mark.slow
def test_a_prediction_goes_on_behind_its_finished_parts(whole, tmp_path):
    """The second part fails; the first is not predicted again."""
    files = Path("mask_rcnn_r50.py"), Path("mask_rcnn_r50.pth")
    predicted: list[int] = []
    own = module.Detector.__call__

    def fail_in_the_second_part(self, batch):
        if predicted:
            raise RuntimeError("out of memory")
        predicted.append(len(batch["inputs"]))
        return own(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Detector, "__call__", fail_in_the_second_part)
        with pytest.raises(RuntimeError, match="out of memory"):
            predict(*files, outputs(tmp_path))
    assert not list(tmp_path.glob("val/*.parquet"))
    count: list[int] = []

    def counted(self, batch):
        count.append(len(batch["inputs"]))
        return own(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Detector, "__call__", counted)
        predict(*files, outputs(tmp_path))
        assert (predicted, count) == ([1], [1] * 5)
        assert contents(tmp_path) == contents(whole)


@pytest.mark.slow
def test_parts_that_other_weights_have_left_are_not_taken_up(whole, tmp_path):
    predict(Path("mask_rcnn_r50.py"), Path("mask_rcnn_r50.pth"), outputs(tmp_path))
    left = tmp_path / "val" / ".matched.parquet.0123456789abcdef"
    left.mkdir()
    for start in range(6):
        shutil.copyfile(tmp_path / "val" / "released.parquet", left / f"{start}.parquet")
    predict(Path("mask_rcnn_r50.py"), Path("mask_rcnn_r50.pth"), outputs(tmp_path))
    assert contents(tmp_path) == contents(whole)
