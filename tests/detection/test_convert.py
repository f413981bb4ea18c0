"""Weights trained elsewhere: what mmdet 2.x and 3.x wrote is taken over, anything else is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mmengine.logging import HistoryBuffer

from gumbel.datasets import weights
from gumbel.detection.checkpoints import load_weights
from gumbel.detection.compose import cell_config, write_configs
from gumbel.detection.convert import convert, fit
from gumbel.detection.predict import build_model
from gumbel.experiment import matrix
from gumbel.experiment.schema import Widths
from gumbel.jobs import manifest, status
from gumbel.paths import CONFIGS, ExperimentPaths
from tests.datasets.server import serve
from tests.detection.conftest import TINY

CATEGORIES, BASE, FPN, FC = 9, 8, 16, 32  # the widths of TINY


def mmdet_2_layout(categories: int = CATEGORIES) -> dict[str, tuple[int, ...]]:
    """Names and shapes of mmdet 2.x's Mask R-CNN with ResNet-50 and FPN at the widths of TINY, written down by hand."""
    layout: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, *shape: int, bias: bool = True) -> None:
        layout[f"{name}.weight"] = shape
        if bias:
            layout[f"{name}.bias"] = shape[:1]

    def norm(name: str, channels: int) -> None:
        layout.update({f"{name}.{key}": (channels,) for key in ("weight", "bias", "running_mean", "running_var")})
        layout[f"{name}.num_batches_tracked"] = ()

    convolution("backbone.conv1", BASE, 3, 7, 7, bias=False)
    norm("backbone.bn1", BASE)
    entering = BASE
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = BASE * 2**stage
        for block in range(blocks):
            name = f"backbone.layer{stage + 1}.{block}"
            shapes = ((inner, entering, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1))
            for number, shape in enumerate(shapes, start=1):
                convolution(f"{name}.conv{number}", *shape, bias=False)
                norm(f"{name}.bn{number}", shape[0])
            if block == 0:
                convolution(f"{name}.downsample.0", 4 * inner, entering, 1, 1, bias=False)
                norm(f"{name}.downsample.1", 4 * inner)
            entering = 4 * inner
    for level in range(4):
        convolution(f"neck.lateral_convs.{level}.conv", FPN, 4 * BASE * 2**level, 1, 1)
        convolution(f"neck.fpn_convs.{level}.conv", FPN, FPN, 3, 3)
    convolution("rpn_head.rpn_conv", FPN, FPN, 3, 3)
    convolution("rpn_head.rpn_cls", 3, FPN, 1, 1)
    convolution("rpn_head.rpn_reg", 3 * 4, FPN, 1, 1)
    convolution("roi_head.bbox_head.shared_fcs.0", FC, FPN * 7 * 7)
    convolution("roi_head.bbox_head.shared_fcs.1", FC, FC)
    convolution("roi_head.bbox_head.fc_cls", categories + 1, FC)
    convolution("roi_head.bbox_head.fc_reg", categories * 4, FC)
    convolution("roi_head.mask_head.convs.0.conv", FPN, FPN, 3, 3)
    convolution("roi_head.mask_head.upsample", FPN, FPN, 2, 2)
    convolution("roi_head.mask_head.conv_logits", categories, FPN, 1, 1)
    return layout


def random_state(categories: int = CATEGORIES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape, generator=generator) if shape else torch.tensor(3)
        for name, shape in mmdet_2_layout(categories).items()
    }


def written_by_mmdet_2(state: dict[str, torch.Tensor]) -> dict:
    """As mmcv 1.x saves it: records of the run, NumPy's numbers among them, and the optimiser."""
    return {
        "meta": {
            "mmdet_version": "2.21.0",
            "config": "model = dict(type='MaskRCNN')",
            "CLASSES": ("aerosol_can", "air_conditioner"),
            "epoch": 12,
            "iter": 74544,
            "hook_msgs": {"best_score": np.float64(0.19), "history": np.arange(3)},
        },
        "state_dict": state,
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.ones(2)}},
            "param_groups": [{"lr": 0.0002, "params": [0]}],
        },
    }


def written_by_mmdet_3(state: dict[str, torch.Tensor]) -> dict:
    """As mmengine saves it: with its own objects in the message hub, and the preprocessor's numbers."""
    return {
        "meta": {"mmengine_version": "0.10.7", "epoch": 12, "iter": 74544, "cfg": "", "seed": 0},
        "state_dict": {"data_preprocessor.mean": torch.ones(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
        | state,
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer([1.0], [1])}, "runtime_info": {}},
        "optimizer": {"state": {}, "param_groups": []},
    }


FILES = ExperimentPaths("tiny").cell("mask_rcnn_r50", "gumbel", 0)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory) -> str:
    experiment = matrix.parse({**TINY, "architectures": ["mask_rcnn_r50"], "activations": ["gumbel"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("configuration"))
        write_configs(experiment)
        return FILES.config.read_text()


@pytest.fixture
def files(tmp_path, monkeypatch, configuration):
    """An empty folder with the cell's configuration."""
    monkeypatch.chdir(tmp_path)
    FILES.root.mkdir(parents=True)
    FILES.config.write_text(configuration)
    return FILES


@pytest.fixture(scope="module")
def model(tiny):
    return build_model(cell_config(tiny, "mask_rcnn_r50", "gumbel", 0))


@pytest.mark.parametrize("written", [written_by_mmdet_2, written_by_mmdet_3])
def test_a_checkpoint_of_either_version_becomes_the_cells_tensor_by_tensor(files, written):
    state = random_state()
    torch.save(written(state), "given.pth")
    convert(Path("given.pth"), files.config)
    converted = torch.load(files.checkpoint, weights_only=True)
    assert converted.keys() == state.keys()
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())


def test_the_record_says_where_the_weights_come_from_and_nothing_of_a_training(files):
    torch.save(written_by_mmdet_2(random_state()), "given.pth")
    convert(Path("given.pth"), files.config)
    record = json.loads(files.manifest.read_text())
    assert record["converted_from"] == {
        "path": "given.pth",
        "sha256": manifest.sha256(Path("given.pth")),
        "mmdet_version": "2.21.0",
        "epoch": 12,
        "iter": 74544,
    }
    assert "activation=gumbel" in record["loss_cls"][0]
    assert not {"seconds", "iterations", "batch_size", "learning_rate", "data_sha256"} & set(record)
    assert pd.read_parquet(files.history).empty
    assert status.read(files.status).state == "done"


def test_what_is_no_weight_of_the_model_is_left_out(model):
    state = random_state()
    others = {
        "ema_backbone_conv1_weight": torch.ones(1),
        "roi_head.bbox_head.loss_cls.cum_samples": torch.ones(1),
        "data_preprocessor.mean": torch.ones(3),
    }
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    assert fit(state | others, model, Path("x.pth")).keys() == fit(wrapped, model, Path("x.pth")).keys() == state.keys()


@pytest.mark.parametrize(
    ("categories", "found"), [(80, r"found 81 \(those of COCO\)"), (1230, r"found 1231 \(those of LVIS v0.5\)")]
)
def test_weights_for_other_categories_are_refused_by_their_number(model, categories, found):
    with pytest.raises(ValueError, match=rf"expected 10 outputs of roi_head.bbox_head.fc_cls \(9 categories .*{found}"):
        fit(random_state(categories), model, Path("x.pth"))


def test_a_classifier_without_a_background_is_refused(model):
    state = random_state()
    state["roi_head.bbox_head.fc_cls.weight"] = state["roi_head.bbox_head.fc_cls.weight"][:-1]
    with pytest.raises(ValueError, match=r"expected 10 outputs .* found 9"):
        fit(state, model, Path("x.pth"))


def test_missing_entries_are_named(model):
    state = random_state()
    del state["rpn_head.rpn_conv.weight"], state["neck.fpn_convs.0.conv.bias"]
    with pytest.raises(ValueError, match=r"it lacks neck.fpn_convs.0.conv.bias, rpn_head.rpn_conv.weight\. Give"):
        fit(state, model, Path("x.pth"))


def test_entries_of_another_shape_are_named(model):
    state = random_state() | {"rpn_head.rpn_conv.weight": torch.ones(256, 256, 3, 3)}
    with pytest.raises(ValueError, match=r"it has in another shape rpn_head.rpn_conv.weight"):
        fit(state, model, Path("x.pth"))


def test_weights_of_another_architecture_are_refused(tiny, model):
    cascade = build_model(cell_config(tiny, "cascade_r101", "gumbel", 0)).state_dict()
    with pytest.raises(ValueError, match=r"it lacks roi_head.bbox_head.fc_cls.bias.* and \d+ more; it has besides"):
        fit(cascade, model, Path("x.pth"))


def test_the_first_version_of_mmdet_is_refused_because_its_background_comes_first(model):
    state = {name.removeprefix("roi_head."): tensor for name, tensor in random_state().items()}
    with pytest.raises(ValueError, match=r"mmdet 1.x, whose first class is the background; upgrade it"):
        fit(state, model, Path("x.pth"))


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["meta", "state_dict", "optimizer"])
def test_a_hostile_file_is_refused_with_what_it_would_have_called_and_nothing_runs(files, place, legacy):
    content = written_by_mmdet_2(random_state())
    content[place]["x"] = Hostile()
    torch.save(content, "given.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"would call (posix|nt)\.system, which was not run; use another file"):
        convert(Path("given.pth"), files.config)
    assert not Path("executed").exists()
    assert not files.checkpoint.exists()
    assert not files.manifest.exists()


@pytest.mark.parametrize("value", [np.arange(3), 1.5])
def test_anything_but_tensors_among_the_weights_is_refused(tmp_path, value):
    torch.save({"state_dict": random_state() | {"extra": value}}, tmp_path / "given.pth")
    with pytest.raises(ValueError, match=r"expected only tensors in the state dict .* found something else under"):
        load_weights(tmp_path / "given.pth")


def test_weights_in_the_layout_of_the_published_ones_come_from_a_link_to_a_page_into_the_cell(tmp_path, monkeypatch):
    """GOL's: 1203 categories and no background. The link answers with a page, as the published ones do."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    shapes = mmdet_2_layout(1203) | {
        "roi_head.bbox_head.fc_cls.weight": (1203, FC),
        "roi_head.bbox_head.fc_cls.bias": (1203,),
    }
    state = {name: torch.rand(shape) if shape else torch.tensor(3) for name, shape in shapes.items()}
    served = tmp_path / "served"
    served.mkdir()
    (served / "epoch_24.pth?dl=0").write_text("<html>epoch_24.pth</html>")
    torch.save(written_by_mmdet_2(state), served / "epoch_24.pth?dl=1")
    released = matrix.load(CONFIGS / "experiments" / "released.yaml")
    cell = matrix.cells(released)[0]
    files = cell.paths(released)
    with serve(served) as server:
        small = released.model_copy(
            update={
                "widths": Widths(**TINY["widths"]),
                "checkpoints": {str(cell): f"{server.url}/epoch_24.pth?dl=0"},
            }
        )
        write_configs(small, [files.config])
        weights.provide(small.checkpoints[str(cell)])
    convert(weights.path(small.checkpoints[str(cell)]), files.config)
    converted = load_weights(files.checkpoint)
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())
    assert json.loads(files.manifest.read_text())["converted_from"]["sha256"]


def test_the_published_results_of_the_published_weights_are_there_to_compare_with():
    """Of the README's table: mask AP and AP of rare categories."""
    released = matrix.load(CONFIGS / "experiments" / "released.yaml")
    table = pd.read_csv(CONFIGS / "paper" / "results.csv")
    rows = table[(table.recipe == released.recipe) & (table.iou_type == "segm")].set_index(["architecture", "metric"])
    assert (rows.value["mask_rcnn_r50", "AP"], rows.value["mask_rcnn_r50", "APr"]) == (27.7, 21.4)
    assert (rows.value["mask_rcnn_r101", "AP"], rows.value["mask_rcnn_r101", "APr"]) == (29.0, 22.8)
    assert set(released.checkpoints) == {str(cell) for cell in matrix.cells(released)}
