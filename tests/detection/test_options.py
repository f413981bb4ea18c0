"""The batch whatever the number of GPUs, and options of a training beside its recipe."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from gumbel.detection import options
from gumbel.detection.compose import cell_config, warm_start_config
from gumbel.detection.loop import PlacedDataset
from gumbel.detection.parts import box_heads, check_categories, roi_extractors, train_dataset
from gumbel.detection.predict import build_model
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import CONFIGS
from gumbel.preflight.measure import noise

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
MINI = matrix.load(CONFIGS / "experiments" / "mini.yaml")


def changed(experiment: Experiment, **changes: object) -> Experiment:
    return matrix.parse(experiment.model_dump(mode="json") | changes)


@pytest.mark.parametrize(("gpus", "images"), [(1, 4), (2, 4), (4, 4), (8, 2), (16, 1), (1, 16), (3, 1)])
@pytest.mark.parametrize("activation", ["softmax", "gumbel"])
def test_a_step_sees_the_batch_whatever_the_number_of_gpus(gpus, images, activation):
    """Images, steps, warm-up, decays and learning rate are those of one GPU; only the loads differ."""
    batch = 48 if gpus == 3 else 16
    experiment = changed(LVIS, gpus=gpus, batch=batch, training={"images_per_gpu": images}, cells={})
    config = cell_config(experiment, "mask_rcnn_r50", activation, seed=0)
    loads = config.optim_wrapper.accumulative_counts
    assert config.train_dataloader.batch_size * gpus * loads == batch
    assert config.train_cfg.max_iters == 12 * 6212 * loads
    warm_up, decay = config.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 500)
    assert (decay.end, decay.milestones) == (12 * 6212, [8 * 6212, 11 * 6212])
    assert config.default_hooks.checkpoint.interval == 1000 * loads
    assert config.optim_wrapper.optimizer.lr == 0.02
    options.check_launch(config, world_size=gpus)
    with pytest.raises(ValueError, match=rf"expected {batch} images a step = .* {gpus} processes .*found {gpus + 1}"):
        options.check_launch(config, world_size=gpus + 1)


@pytest.mark.parametrize(("gpus", "images"), [(3, 4), (8, 4), (32, 1), (1, 3)])
def test_a_batch_that_is_no_whole_number_of_loads_is_refused(gpus, images):
    with pytest.raises(ValueError, match=rf"expected 16 = .*found images_per_gpu {images} x gpus {gpus}; .*`batch`"):
        changed(LVIS, gpus=gpus, training={"images_per_gpu": images}, cells={})


def test_the_batch_of_a_single_cell_is_checked_too():
    with pytest.raises(ValueError, match="found images_per_gpu 3 x gpus 1"):
        changed(LVIS, cells={"htc_r101/gumbel": {"images_per_gpu": 3}})


def test_a_cell_of_no_name_is_refused():
    with pytest.raises(ValueError, match=r"cells: expected one of .*found 'htc_r101/gumble'"):
        changed(LVIS, cells={"htc_r101/gumble": {"precision": "fp16"}})


def test_what_a_cell_does_otherwise_is_its_own():
    for architecture in LVIS.architectures:
        for activation in LVIS.activations:
            config = cell_config(LVIS, architecture, activation, seed=0)
            half = architecture == "htc_r101" or (architecture == "mask_rcnn_x101" and activation != "gumbel")
            assert config.optim_wrapper.type == ("AmpOptimWrapper" if half else "OptimWrapper")
            assert config.optim_wrapper.get("loss_scale") == (512.0 if half else None)
            slow = architecture == "mask_rcnn_x101" and activation != "gumbel"
            assert config.param_scheduler[0].end == (1000 if slow else 500)
            single = (architecture, activation) == ("mask_rcnn_x101", "softmax")
            assert config.train_dataloader.batch_size == (1 if single else 4)


def test_the_schedule_of_mini_is_its_file():
    """Batch 4 in one load: what a laptop trains has no accumulation."""
    config = cell_config(MINI, "mask_rcnn_r50", "gumbel", seed=0)
    file = Config.fromfile(CONFIGS / "schedules" / "mini.py")
    assert config.train_dataloader.batch_size == 4
    assert config.optim_wrapper == {**file.optim_wrapper, "accumulative_counts": 1}
    assert config.param_scheduler == file.param_scheduler
    assert config.train_cfg.max_iters == file.iterations
    assert config.default_hooks.checkpoint.interval == file.checkpoint_interval
    warm_start = Config.fromfile(CONFIGS / "schedules" / "mini_warm_start.py")
    assert warm_start_config(MINI, "mask_rcnn_r50").train_cfg.max_iters == warm_start.iterations


def test_a_cell_of_mini_sees_every_training_image_three_times():
    config = cell_config(MINI, "mask_rcnn_r50", "gumbel", seed=0)
    images = config.train_cfg.max_iters * config.train_dataloader.batch_size
    assert images >= 3 * matrix.data(MINI).size("train")


def test_a_warm_up_that_the_rest_of_the_schedule_waits_for_is_not_stretched():
    with pytest.raises(ValueError, match=r"`warmup`: .*found configs/schedules/mini\.py"):
        cell_config(changed(MINI, training={"warmup": 30}), "mask_rcnn_r50", "gumbel", seed=0)


def test_options_are_off_in_the_faithful_recipe():
    config = cell_config(LVIS, "mask_rcnn_r50", "gumbel", seed=0)
    assert config.compile is False
    assert [hook.type for hook in config.custom_hooks] == []
    faster = changed(LVIS, training={"compile": True, "channels_last": True, "own_class_masks": True})
    config = cell_config(faster, "mask_rcnn_r50", "gumbel", seed=0)
    assert config.compile is True
    assert [hook.type for hook in config.custom_hooks] == ["ChannelsLastHook", "OwnClassMasksHook"]


@pytest.mark.parametrize("architecture", ["mask_rcnn_r50", "cascade_r101", "htc_r101"])
def test_channels_last_changes_the_memory_format_and_no_value(tiny, architecture):
    """Features of every pyramid level, what is pooled from them, and the slopes of the first convolution."""
    torch.manual_seed(0)
    model = build_model(cell_config(tiny, architecture, "softmax", seed=0)).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    rois = torch.tensor([[0, 3, 5, 20, 30], [1, 10, 2, 60, 50], [1, 0, 0, 63, 63]], dtype=torch.float64)
    convolution = model.backbone.layer1[0].conv1.weight.requires_grad_()
    found = []
    for last in (False, True):
        if last:
            options.ChannelsLastHook().before_train(SimpleNamespace(model=model))
        features = model.extract_feat(images)
        if last:  # which kernels keep the format depends on the processor
            features = [each.contiguous(memory_format=torch.channels_last) for each in features]
        assert features[0].is_contiguous() is not last
        pooled = [extractor(features[: extractor.num_inputs], rois) for extractor in roi_extractors(model)]
        (slope,) = torch.autograd.grad(sum(each.square().sum() for each in pooled), convolution)
        found.append([*features, *pooled, slope])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-8 * float(one.detach().abs().max()))


@pytest.mark.parametrize("architecture", ["mask_rcnn_r50", "cascade_r101", "htc_r101"])
def test_own_class_masks_change_the_order_of_sums_and_no_loss_or_slope(tiny, architecture):
    config = cell_config(tiny, architecture, "gumbel", seed=0)
    batch = noise((96, 128), box_heads(config.model)[0].num_classes, images=2, objects=5)
    torch.manual_seed(0)
    model = build_model(config)
    found = []
    for own in (False, True):
        if own:
            options.OwnClassMasksHook().before_train(SimpleNamespace(model=model))
        np.random.seed(0)  # noqa: NPY002 - which mmdet samples RoIs with
        torch.manual_seed(0)
        model.zero_grad()
        loss, logged = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode="loss"))
        loss.backward()
        slopes = {name: slope.grad for name, slope in model.named_parameters() if slope.grad is not None}
        assert sum("conv_logits" in name and bool(slope.any()) for name, slope in slopes.items()) >= 2
        found.append({**logged, **slopes})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-4 * float(value.abs().max()), msg=name)


def test_repeat_factor_sampling_repeats_pictures_of_rare_categories(tiny, tiny_data, monkeypatch):
    monkeypatch.chdir(tiny_data)
    init_default_scope("mmdet")
    plain = cell_config(tiny, "mask_rcnn_r50", "gumbel", seed=0)
    import_modules_from_strings(**plain.custom_imports)
    oversampled = cell_config(changed(tiny, oversample=0.5), "mask_rcnn_r50", "gumbel", seed=0)
    assert train_dataset(oversampled) == train_dataset(plain)
    once = Runner.build_dataloader(plain.train_dataloader).dataset
    repeated = Runner.build_dataloader(oversampled.train_dataloader).dataset
    assert len(repeated) > len(once)
    # The repeat factor of an image: the largest sqrt(threshold / frequency) of its categories, rounded up
    shown = [set(once.get_cat_ids(index)) for index in range(len(once))]
    frequency = {label: sum(label in labels for labels in shown) / len(once) for label in set().union(*shown)}
    factors = [max(max(1, -(-((0.5 / frequency[label]) ** 0.5) // 1)) for label in labels) for labels in shown]
    assert len(repeated) == sum(factors)
    # Categories are compared whatever the data is wrapped in
    for wrapped in (once, repeated, PlacedDataset(oversampled.train_dataloader.dataset, seed=0)):
        check_categories(build_model(plain), wrapped)
        with pytest.raises(ValueError, match=r"expected 8 categories, .*, found 9 in .*train\.json"):
            check_categories(build_model(warm_start_config(tiny, "mask_rcnn_r50")), wrapped)
