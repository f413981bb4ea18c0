"""All cells of the paper's recipe, built at full width and run once, and the override that shrinks them."""

import csv
import re
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from gumbel import activations
from gumbel.detection.compose import cell_config, infrequent, warm_start_config, write_configs
from gumbel.detection.losses import classification_losses
from gumbel.detection.parts import box_heads, mask_heads, train_dataset
from gumbel.experiment import architectures, matrix
from gumbel.paths import CONFIGS

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
MINI = matrix.load(CONFIGS / "experiments" / "mini.yaml")
GOL = matrix.load(CONFIGS / "experiments" / "gol.yaml")
NARROW = {
    "widths": {"base_channels": 8, "fpn_channels": 16, "fc_channels": 32, "mask_convs": 1},
    "regions": {"train_proposals": 64, "test_proposals": 20, "detections": 20},
}
# Parameters in millions, counted by hand: the 80-class Mask R-CNN R50 of mmdet's model zoo has 44.396; each further
# class adds 1025 (score), 4 x 1025 (box, where class-specific) and 257 (mask) a stage; R101 adds 18.992, X101 38.906
# to that (torchvision's backbones); a cascade's two further stages 33.252 less 0.324 for class-agnostic boxes; HTC's
# two mask links 0.066 each.
PARAMETERS = {
    "mask_rcnn_r50": 50.44,
    "mask_rcnn_r101": 69.43,
    "mask_rcnn_x101": 108.34,
    "cascade_r101": 100.63,
    "htc_r101": 100.77,
}


def batch(side: int, num_classes: int) -> dict:
    """One noise image with two objects."""
    masks = np.zeros((2, side, side), dtype=np.uint8)
    masks[0, 4:40, 4:40] = 1
    masks[1, 20:60, 30:60] = 1
    sample = DetDataSample(metainfo=dict(img_shape=(side, side), ori_shape=(side, side), scale_factor=(1.0, 1.0)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[4.0, 4.0, 40.0, 40.0], [30.0, 20.0, 60.0, 60.0]]),
        labels=torch.tensor([0, num_classes - 1]),
        masks=BitmapMasks(masks, side, side),
    )
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
    return dict(inputs=[image], data_samples=[sample])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", LVIS.architectures)
def test_full_width_models_build_and_learn_under_every_activation(architecture):
    """One real forward and backward of each of the paper's 15 models, at a small image with few RoIs."""
    init_default_scope("mmdet")
    for activation in LVIS.activations:
        config = cell_config(LVIS, architecture, activation, seed=0).model
        config.backbone.init_cfg = None  # the weights that a GPU job starts from are not needed for a gradient
        for stage in _as_list(config.train_cfg.rcnn):
            stage.sampler.num = 16
        torch.manual_seed(0)
        model = MODELS.build(config)
        model.init_weights()
        model.train()
        for head in box_heads(config):
            assert head.num_classes == 1203
        data = model.data_preprocessor(batch(64, 1203), training=True)
        total, _ = model.parse_losses(model(**data, mode="loss"))
        total.backward()
        assert torch.isfinite(total)
        # Processes that train together wait for every gradient
        assert not [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]
        classifiers = [head.fc_cls for head in _as_modules(model.roi_head.bbox_head)]
        assert all(layer.weight.shape[0] == 1204 and layer.weight.grad.abs().sum() > 0 for layer in classifiers)
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        assert millions == pytest.approx(PARAMETERS[architecture], abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MINI.architectures)
def test_every_registered_activation_trains_and_scores_every_architecture(architecture):
    init_default_scope("mmdet")
    classes = matrix.data(MINI).settings.categories
    for activation in activations.names():
        torch.manual_seed(0)
        model = MODELS.build(cell_config(MINI, architecture, activation, seed=0).model)
        model.init_weights()
        total, _ = model.parse_losses(model(**model.data_preprocessor(batch(64, classes), training=True), mode="loss"))
        total.backward()
        assert torch.isfinite(total)
        assert all(head.fc_cls.weight.grad.abs().sum() > 0 for head in _as_modules(model.roi_head.bbox_head))
        expected = activations.get(activation)
        for loss in classification_losses(model):
            outputs = torch.linspace(-2, 2, expected.outputs(classes))[None]
            scores = loss.get_activation(outputs) if hasattr(loss, "get_activation") else outputs.softmax(-1)
            torch.testing.assert_close(scores, expected.scores(outputs))
        model.eval()
        with torch.inference_mode():
            (sample,) = model.test_step(batch(64, classes))
        scores = sample.pred_instances.scores
        assert ((scores >= 0) & (scores <= 1)).all()


def _as_list(stages: dict | list[dict]) -> list[dict]:
    return stages if isinstance(stages, list) else [stages]


def _as_modules(heads: torch.nn.Module) -> list[torch.nn.Module]:
    return list(heads) if isinstance(heads, torch.nn.ModuleList) else [heads]


@pytest.mark.parametrize("architecture", LVIS.architectures)
def test_default_widths_change_nothing_of_mmdets_models(architecture):
    ours = cell_config(LVIS, architecture, "softmax", seed=0).model
    file = Config.fromfile(CONFIGS / "models" / f"{architecture}.py").model
    for key in ("neck", "rpn_head", "train_cfg", "test_cfg", "data_preprocessor"):
        assert ours[key] == file[key], key
    # The weights that it starts from lie on the disk, under the name of their file
    same = {"base_channels": 64, "init_cfg": None}
    assert ours.backbone | same == file.backbone | same


def test_the_head_recipe_is_the_papers():
    """Mask R-CNN regresses a box per class, the cascades one for all; masks are always per class."""
    for architecture in LVIS.architectures:
        model = cell_config(LVIS, architecture, "gumbel", seed=0).model
        agnostic = architecture in ("cascade_r101", "htc_r101")
        assert all(head.reg_class_agnostic == agnostic for head in box_heads(model))
        assert not any(head.get("class_agnostic", False) for head in mask_heads(model))
        assert (model.test_cfg.rcnn.score_thr, model.test_cfg.rcnn.max_per_img) == (1e-4, 300)


def test_softmax_is_mmdets_own_loss():
    (head,) = box_heads(cell_config(MINI, "mask_rcnn_r50", "softmax", seed=0).model)
    assert head.loss_cls == dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0)


def test_the_variant_of_the_gumbel_loss_is_the_experiments():
    (mini,) = box_heads(cell_config(MINI, "mask_rcnn_r50", "gumbel", seed=0).model)
    (lvis,) = box_heads(cell_config(LVIS, "mask_rcnn_r50", "gumbel", seed=0).model)
    assert (mini.loss_cls.variant, lvis.loss_cls.variant) == ("exact", "released")


@pytest.mark.parametrize("activation", MINI.activations)
def test_a_prior_without_a_named_bias_starts_every_class_at_that_score(activation):
    init_default_scope("mmdet")
    model = MODELS.build(cell_config(MINI, "mask_rcnn_r50", activation, seed=0).model)
    model.init_weights()
    head = model.roi_head.bbox_head
    logits, _ = head(torch.zeros(1, MINI.widths.fpn_channels, 7, 7))
    if activation == "softmax":
        expected = 1 / (matrix.data(MINI).settings.categories + 1)
        scores = logits.softmax(-1)
    else:
        expected = MINI.classifier.prior
        scores = head.loss_cls.get_activation(logits)
    torch.testing.assert_close(scores, torch.full_like(scores, expected))


def test_the_activations_of_an_architecture_differ_only_in_the_classification_loss_and_its_start():
    records = []
    for activation in MINI.activations:
        config = cell_config(MINI, "cascade_r101", activation, seed=0)
        for head in box_heads(config.model):
            del head["loss_cls"], head["init_cfg"]
        record = config.to_dict()
        del record["cell"], record["visualizer"]["vis_backends"][0]["save_dir"]
        records.append(record)
    assert records[0] == records[1] == records[2]


def test_a_warm_start_is_class_agnostic_and_trains_everything():
    model = warm_start_config(MINI, "mask_rcnn_r50").model
    assert box_heads(model)[0].reg_class_agnostic
    assert mask_heads(model)[0].class_agnostic
    assert (model.backbone.frozen_stages, model.backbone.norm_eval) == (-1, False)


def test_written_configurations_read_back_as_composed_and_open_with_their_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write_configs(MINI)
    assert len(written) == 15 + 5
    path = next(path for path in written if "htc_r101/gumbel" in str(path))
    composed = cell_config(MINI, "htc_r101", "gumbel", seed=0)
    assert Config.fromfile(path).to_dict() == composed.to_dict()
    assert f"python -m gumbel train {path}" in path.read_text().split('"""')[1]


@pytest.mark.parametrize("name", ["lvis_2x", "lvis_rfs", "lvis_2x_rfs"])
def test_longer_schedules_and_repeated_images_leave_the_model_alone(name):
    experiment = matrix.load(CONFIGS / "experiments" / f"{name}.yaml")
    for activation in experiment.activations:
        ours = cell_config(experiment, "mask_rcnn_r50", activation, seed=0)
        lvis = cell_config(LVIS, "mask_rcnn_r50", activation, seed=0)
        assert ours.model == lvis.model
        assert train_dataset(ours) == train_dataset(lvis)
        epochs = ours.train_cfg.max_iters / lvis.train_cfg.max_iters
        assert epochs == pytest.approx((2 if "2x" in name else 1) * (7674 / 6212 if "rfs" in name else 1))


def test_infrequent_categories_are_those_below_the_share():
    """By hand: 109 of 99,388 images are 0.0010967, 110 are 0.0011068; 815 categories have at most 109."""
    with (CONFIGS / "paper" / "lvis_v1_categories.csv").open() as file:
        counts = [int(row["image_count"]) for row in csv.DictReader(file)]
    labels = infrequent(matrix.data(LVIS), 0.0011)
    assert labels == [label for label, count in enumerate(counts) if count <= 109]
    assert len(labels) == 815


@pytest.mark.parametrize("architecture", GOL.architectures)
def test_the_authors_gol_learns_and_scores(architecture):
    """At a small width, but with LVIS's categories, and with polygons as its pipeline gives them."""
    init_default_scope("mmdet")
    narrow = matrix.parse(GOL.model_dump(mode="json") | NARROW)
    config = cell_config(narrow, architecture, "gumbel", seed=0)
    config.model.backbone.init_cfg = None
    assert [step.poly2mask for step in train_dataset(config).pipeline if step.type == "LoadBoxedAnnotations"] == [False]
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.train()
    data = batch(64, 1203)
    squares = [[np.array([4.0, 4, 40, 4, 40, 40, 4, 40])], [np.array([30.0, 20, 60, 20, 60, 60, 30, 60])]]
    data["data_samples"][0].gt_instances.masks = PolygonMasks(squares, 64, 64)
    losses = model(**model.data_preprocessor(data, training=True), mode="loss")
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    head, mask_head = model.roi_head.bbox_head, model.roi_head.mask_head
    assert head.fc_cls.weight.shape[0] == 1203
    assert head.fc_cls.weight.grad.abs().sum() > 0
    assert type(mask_head.conv_logits).__name__ == "NormedConv2d"
    assert mask_head.conv_logits.weight.grad.abs().sum() > 0
    assert head.loss_cls.options == {"variant": "released"}
    model.eval()
    assert model.test_cfg.rcnn.nms.iou_threshold == 0.3
    with torch.inference_mode():
        (sample,) = model.test_step(batch(64, 1203))
    assert sample.pred_instances.labels.max() < 1203


@pytest.mark.parametrize("architecture", LVIS.architectures)
def test_a_training_never_names_the_network(architecture):
    config = cell_config(LVIS, architecture, "gumbel", seed=0)
    assert config.model.backbone.init_cfg.checkpoint == str(architectures.get(architecture).weights.path)
    assert not re.findall(r"\w+://\S+", config.pretty_text)


def test_starting_weights_load_from_their_file_as_tensors_alone(tmp_path, monkeypatch):
    """The file is read by mmengine, whose torch.load admits nothing but weights."""
    monkeypatch.chdir(tmp_path)
    init_default_scope("mmdet")
    backbone = MODELS.build(cell_config(LVIS, "mask_rcnn_r50", "gumbel", seed=0).model.backbone)
    path = architectures.get("mask_rcnn_r50").weights.path
    path.parent.mkdir(parents=True)
    weights = {name: torch.randn_like(tensor.float()) for name, tensor in backbone.state_dict().items()}
    torch.save(weights, path)
    backbone.init_weights()
    torch.testing.assert_close(backbone.state_dict()["layer4.2.conv3.weight"], weights["layer4.2.conv3.weight"])
    torch.save({"conv1.weight": Path("code")}, path)
    with pytest.raises(UnpicklingError, match="weights_only"):
        MODELS.build(cell_config(LVIS, "mask_rcnn_r50", "gumbel", seed=0).model.backbone).init_weights()
