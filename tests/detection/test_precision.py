"""What fp32, tf32, fp16 and bf16 compute in, on which devices, and that the run says so."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from gumbel.detection import options, precision
from gumbel.detection.compose import cell_config
from gumbel.detection.parts import box_heads
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS
from gumbel.preflight import cells

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")


def in_precision(experiment: Experiment, name: str) -> Experiment:
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"precision": name})})


@pytest.fixture(autouse=True)
def settings():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def gpu(monkeypatch):
    """Pretend a GPU of a compute capability."""

    def pretend(*capability: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capability))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla")

    return pretend


@pytest.mark.parametrize(("name", "rounds"), [("fp32", False), ("fp16", False), ("tf32", True), ("bf16", True)])
def test_fp32_and_fp16_round_no_product_of_float32_and_the_others_all(name, rounds):
    precision.set_float32(name)
    assert torch.backends.cuda.matmul.allow_tf32 is rounds
    assert torch.backends.cudnn.allow_tf32 is rounds


def test_a_device_that_cannot_compute_in_the_precision_is_refused(gpu):
    gpu()
    for name in ("fp16", "tf32"):
        with pytest.raises(ValueError, match=rf"expected a GPU for {name}, found none; .*`precision`"):
            precision.check_device(name)
    for name in ("fp32", "bf16"):
        precision.check_device(name)
    gpu(7, 0)
    for name in ("tf32", "bf16"):
        with pytest.raises(ValueError, match=rf"expected .* 8.0 .* for {name}, found Tesla"):
            precision.check_device(name)
    for name in ("fp32", "fp16"):
        precision.check_device(name)
    gpu(9, 0)
    for name in ("fp32", "tf32", "fp16", "bf16"):
        precision.check_device(name)


def test_a_launch_asks_the_device(gpu):
    gpu()
    config = cell_config(LVIS, "htc_r101", "gumbel", seed=0)
    with pytest.raises(ValueError, match="expected a GPU for fp16"):
        options.check_launch(config, world_size=1)


def step(experiment: Experiment, architecture: str) -> tuple[torch.nn.Module, object, float]:
    """The model after one step on noise, its optimiser's wrapper, and the loss."""
    init_default_scope("mmdet")
    config = cell_config(experiment, architecture, "gumbel", seed=0)
    model = cells.build(config)
    for hook in config.custom_hooks:
        if hook.type == "Bfloat16Hook":
            precision.Bfloat16Hook().before_train(SimpleNamespace(model=model))
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    batch = cells.noise((64, 64), box_heads(model)[0].num_classes, images=4)
    losses = model.train_step(batch, wrapper)
    return model, wrapper, float(losses["loss"])


@pytest.mark.parametrize("architecture", ["mask_rcnn_r50", "htc_r101"])
def test_bf16_computes_in_bfloat16_and_loses_no_more_than_its_mantissa(tiny, architecture):
    """Eight bits: the loss of a first step within 2 % of float32's; weights and gradients stay in float32."""
    _, _, expected = step(tiny, architecture)
    model, wrapper, found = step(in_precision(tiny, "bf16"), architecture)
    assert found != expected
    assert found == pytest.approx(expected, rel=0.02)
    assert {each.grad.dtype for each in model.parameters() if each.grad is not None} <= {torch.float32}
    assert precision.resolved(SimpleNamespace(optim_wrapper=wrapper))["precision"] == "bf16"
    assert precision.resolved(SimpleNamespace(optim_wrapper=wrapper))["loss_scale"] is None


def test_bf16_pools_features_at_boxes_that_are_not_rounded():
    """At 1001 pixels bfloat16 has steps of 4: a ramp pooled there in bfloat16 would be off by one at least."""
    init_default_scope("mmdet")
    layer = dict(type="RoIAlign", output_size=1, sampling_ratio=1)
    extractor = MODELS.build(
        dict(type="SingleRoIExtractor", roi_layer=layer, out_channels=1, featmap_strides=[1], finest_scale=10_000)
    )
    rpn = torch.nn.Conv2d(1, 1, 1)
    head = SimpleNamespace(bbox_roi_extractor=extractor, mask_roi_extractor=[])
    precision.keep_boxes(SimpleNamespace(rpn_head=rpn, roi_head=head))
    ramp = (torch.arange(2048.0).expand(1, 1, 4, 2048) / 2048).to(torch.bfloat16)
    box = torch.tensor([[0.0, 1000.5, 0.0, 1001.5, 2.0]])
    exact = extractor.__class__.__mro__[0].forward  # without hooks
    with torch.autocast("cpu", torch.bfloat16):
        found = extractor((ramp,), box)
    assert found.dtype == torch.bfloat16
    expected = exact(extractor, (ramp.float(),), box).to(torch.bfloat16)
    assert torch.equal(found, expected)


def test_the_run_says_what_it_was():
    plain = SimpleNamespace(optim_wrapper=SimpleNamespace())
    for name in ("fp32", "tf32"):
        precision.set_float32(name)
        found = precision.resolved(plain)
        assert (found["precision"], found["loss_scale"]) == (name, None)
        assert found["tf32"] == {"matrices": name == "tf32", "convolutions": name == "tf32"}


def test_what_is_fast_differs_from_the_recipe_in_nothing_but_how_it_computes():
    fast = matrix.load(CONFIGS / "experiments" / "lvis_fast.yaml")
    plain, ours = (cell_config(each, "mask_rcnn_r50", "gumbel", seed=0) for each in (LVIS, fast))
    assert ours.model == plain.model
    assert ours.batch == plain.batch == ours.train_dataloader.batch_size
    assert ours.train_cfg.max_iters * 4 == plain.train_cfg.max_iters
    assert ours.optim_wrapper == {**plain.optim_wrapper, "type": "Bfloat16OptimWrapper", "accumulative_counts": 1}
    assert [hook.type for hook in ours.custom_hooks] == ["ChannelsLastHook", "OwnClassMasksHook", "Bfloat16Hook"]
