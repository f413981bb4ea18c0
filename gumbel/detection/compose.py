"""Compose the configuration of a training from architecture, activation, data and schedule.

All that a training depends on ends up in one resolved mmengine configuration, written beside its results: the only
thing that training and prediction read.
"""

from collections.abc import Callable, Collection
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from gumbel import activations
from gumbel.datasets import DataSet
from gumbel.detection import precision
from gumbel.detection.curves import SCALARS_EVERY, visualizer
from gumbel.detection.parts import box_heads, mask_heads, roi_extractors, samplers
from gumbel.experiment import architectures, matrix
from gumbel.experiment.schema import Experiment, Gol, Regions, Training, Widths
from gumbel.jobs.files import atomic_path
from gumbel.paths import CONFIGS, DataPaths, ExperimentPaths, TrainingPaths

CUSTOM_IMPORTS = [
    "gumbel.detection.boxed_masks",
    "gumbel.detection.curves",
    "gumbel.detection.loading",
    "gumbel.detection.losses",
    "gumbel.detection.loop",
    "gumbel.detection.hooks",
    "gumbel.detection.options",
    "gumbel.detection.precision",
]


def cell_config(experiment: Experiment, architecture: str, activation: str, seed: int) -> Config:
    """The configuration of one cell of the matrix."""
    model = _model(experiment, architecture, matrix.data(experiment).classes("train"))
    for head in box_heads(model):
        head.loss_cls = _classification_loss(experiment, activation, head.num_classes)
        head.init_cfg = _head_initialisation(experiment, activation, head.num_classes)
    _apply_gol(model, experiment.gol)
    training = experiment.training_of(architecture, activation)
    paths = ExperimentPaths(experiment.name).cell(architecture, activation, seed)
    config = _training(experiment, model, experiment.train_split, experiment.schedule, seed, paths, training)
    dataset = config.train_dataloader.dataset
    if experiment.gol.polygons:
        for step in dataset.pipeline:
            if step.type == "LoadBoxedAnnotations":
                step.poly2mask = False
    if experiment.oversample:
        config.train_dataloader.dataset = ConfigDict(
            type="ClassBalancedDataset", oversample_thr=experiment.oversample, dataset=dataset
        )
    config.cell = ConfigDict(architecture=architecture, activation=activation, seed=seed)
    if experiment.snapshots:
        config.custom_hooks.append(ConfigDict(type="SnapshotHook", percents=experiment.snapshots))
    if experiment.warm_start is not None:
        checkpoint = str(ExperimentPaths(experiment.name).warm_start(architecture).checkpoint)
        config.custom_hooks.append(ConfigDict(type="WarmStartHook", checkpoint=checkpoint))
        config.model.backbone.init_cfg = None
    else:
        # Not the name of the ImageNet weights but their file: a training never touches the network
        weights = architectures.get(architecture).weights
        config.model.backbone.init_cfg = weights and ConfigDict(type="Pretrained", checkpoint=str(weights.path))
    return config


def warm_start_config(experiment: Experiment, architecture: str) -> Config:
    """The configuration of the weights that the activations of an architecture start from.

    The detector is trained from scratch, batch normalisation included, on other categories. Boxes and masks are
    class-agnostic, so that :func:`gumbel.detection.checkpoints.adapt` can give every category the same start.
    """
    if experiment.warm_start is None:
        raise ValueError(f"experiment {experiment.name} has no `warm_start` section")
    split = experiment.warm_start.split
    model = _model(experiment, architecture, matrix.data(experiment).classes(split))
    model.backbone.update(init_cfg=None, frozen_stages=-1, norm_eval=False)
    for head in box_heads(model):
        head.reg_class_agnostic = True
    for head in mask_heads(model):
        head.class_agnostic = True
    paths = ExperimentPaths(experiment.name).warm_start(architecture)
    config = _training(experiment, model, split, experiment.warm_start.schedule, 0, paths, experiment.training)
    config.custom_hooks.append(ConfigDict(type="ZeroInitResidualHook"))
    config.cell = ConfigDict(architecture=architecture, activation="warm_start", seed=0)
    return config


def _read(folder: str, name: str) -> Config:
    """A file of ``configs/``, to change at will."""
    return deepcopy(_read_once(CONFIGS / folder / f"{name}.py"))


_read_once = cache(Config.fromfile)  # mmengine takes a tenth of a second


def _model(experiment: Experiment, architecture: str, num_classes: int) -> ConfigDict:
    model = _read("models", architecture).model
    for head in [*box_heads(model), *mask_heads(model)]:
        head.num_classes = num_classes
    _apply_widths(model, experiment.widths)
    _apply_regions(model, experiment.regions)
    return model


def _apply_widths(model: ConfigDict, widths: Widths) -> None:
    """Shrink ``model`` to ``widths``; at full width nothing changes."""
    backbone = model.backbone
    shrink = widths.base_channels / 64
    backbone.base_channels = widths.base_channels
    if "groups" in backbone:
        backbone.groups = max(1, round(backbone.groups * shrink))
    model.neck.in_channels = [round(channels * shrink) for channels in model.neck.in_channels]
    model.neck.out_channels = widths.fpn_channels
    model.rpn_head.update(in_channels=widths.fpn_channels, feat_channels=widths.fpn_channels)
    model.rpn_head.anchor_generator.scales = [widths.anchor_scale]
    for extractor in roi_extractors(model):
        extractor.out_channels = widths.fpn_channels
        extractor.roi_layer.sampling_ratio = widths.roi_samples
    for head in box_heads(model):
        head.update(in_channels=widths.fpn_channels, fc_out_channels=widths.fc_channels)
    for head in mask_heads(model):
        head.update(in_channels=widths.fpn_channels, conv_out_channels=widths.fpn_channels, num_convs=widths.mask_convs)


def _apply_regions(model: ConfigDict, regions: Regions) -> None:
    proposals = [model.train_cfg.rpn_proposal, model.test_cfg.rpn]
    for settings, number in zip(proposals, [regions.train_proposals, regions.test_proposals], strict=True):
        if number is not None:
            settings.update(nms_pre=2 * number, max_per_img=number)
    if regions.sampled is not None:
        for sampler in samplers(model):
            sampler.num = regions.sampled
    if regions.detections is not None:
        model.test_cfg.rcnn.max_per_img = regions.detections


def _apply_gol(model: ConfigDict, gol: Gol) -> None:
    if gol.normed_masks:
        for head in mask_heads(model):
            head.predictor_cfg = ConfigDict(type="NormedConv2d")
    if gol.nms is not None:
        model.test_cfg.rcnn.nms.iou_threshold = gol.nms


def _classification_loss(experiment: Experiment, activation: str, num_classes: int) -> ConfigDict:
    chosen, own = activations.get(activation), activations.get(activations.mmdet_default())
    loss = chosen.loss_config(num_classes, experiment.options.get(activation, {}))
    below = experiment.gol.drop_below
    if activation in experiment.released_scoring and (below is not None or chosen.outputs(1) != own.outputs(1)):
        raise ValueError(f"`released_scoring`: expected activations with the outputs of {own.name}, found {activation}")
    if below is not None:
        if chosen.loss is None:
            raise ValueError(f"`gol.drop_below`: expected activations with a loss of each class, found {activation}")
        rare = infrequent(matrix.data(experiment), below)
        loss |= dict(type="DropLoss", num_classes=num_classes, infrequent=rare)
    return ConfigDict(loss)


def infrequent(data: DataSet, below: float) -> list[int]:
    """Labels of the categories that are in less than a share ``below`` of the training images with annotations."""
    assert data.image_shares is not None
    return [label for label, share in enumerate(data.image_shares) if share < below]


def _head_initialisation(experiment: Experiment, activation: str, classes: int) -> list[ConfigDict]:
    """Weights and bias of the classifier, and who starts the other layers.

    An override of the classifier alone, as in the released recipe, switches mmdet's initialisation of the other layers
    off: they stay at PyTorch's default.
    """
    classifier, chosen = experiment.classifier, activations.get(activation)
    bias = classifier.bias.get(activation, chosen.bias(classifier.prior, chosen.outputs(classes)))
    start = dict(type="Normal", std=0.01) if classifier.weight is None else dict(type="Constant", val=classifier.weight)
    first = ConfigDict(**start, bias=bias, override=dict(name="fc_cls"))
    others = [
        ConfigDict(type="Normal", std=0.001, override=dict(name="fc_reg")),
        ConfigDict(type="Xavier", distribution="uniform", override=[dict(name="shared_fcs")]),
    ]
    return [first] if classifier.other_layers == "pytorch" else [first, *others]


def _training(
    experiment: Experiment,
    model: ConfigDict,
    split: str,
    schedule_name: str,
    seed: int,
    paths: TrainingPaths,
    training: Training,
) -> Config:
    files = matrix.data(experiment)
    data = _read("datasets", experiment.dataset)
    schedule = _schedule(schedule_name, training, experiment.accumulation(training))
    train_dataloader = data.train_dataloader
    for step in [*train_dataloader.dataset.pipeline, *data.test_dataloader.dataset.pipeline]:
        step.update(files.loading.get(step.type, {}))
    train_dataloader.batch_size = training.images_per_gpu
    train_dataloader.dataset.update(_dataset_files(files, split))
    train_dataloader.sampler.seed = seed
    hooks = {
        "ChannelsLastHook": training.channels_last,
        "OwnClassMasksHook": training.own_class_masks,
        "Bfloat16Hook": training.precision == "bf16",
    }
    test_dataloaders = {}
    for name in experiment.splits:
        test_dataloaders[name] = ConfigDict(data.test_dataloader)
        test_dataloaders[name].dataset = ConfigDict(data.test_dataloader.dataset, **_dataset_files(files, name))
    return Config(
        dict(
            default_scope="mmdet",
            custom_imports=dict(imports=CUSTOM_IMPORTS),
            model=model,
            train_dataloader=train_dataloader,
            test_dataloaders=test_dataloaders,
            train_cfg=dict(type="ResumableTrainLoop", max_iters=schedule.iterations),
            optim_wrapper=schedule.optim_wrapper,
            param_scheduler=schedule.param_scheduler,
            visualizer=visualizer(experiment, paths),
            log_processor=dict(by_epoch=False),
            default_hooks=dict(
                logger=dict(type="CurvesHook", interval=SCALARS_EVERY) if experiment.track else None,
                timer=None,
                param_scheduler=dict(type="RateHook"),
                checkpoint=dict(type="ResumeHook", interval=schedule.checkpoint_interval, keep=2),
            ),
            custom_hooks=[dict(type=name) for name, wanted in hooks.items() if wanted],
            batch=experiment.batch,
            precision=training.precision,
            compile=training.compile,
            env_cfg=dict(cudnn_benchmark=False, mp_cfg=dict(opencv_num_threads=0)),
            randomness=dict(seed=seed),
            log_level="ERROR",
        )
    )


def _schedule(name: str, training: Training, accumulation: int) -> Config:
    """The schedule file; what counts steps of the optimiser there counts iterations here, one a load.

    The schedule of the learning rate alone keeps counting steps: ``RateHook`` advances it.
    """
    schedule = _read("schedules", name)
    if training.warmup is not None:
        warmup, *others = schedule.param_scheduler
        if warmup.type != "LinearLR" or any(other.begin for other in others):
            raise ValueError(
                f"`warmup`: expected a schedule that begins with LinearLR, beside whatever else from step 0 on; found "
                f"configs/schedules/{name}.py; change its own warm-up instead"
            )
        warmup.end = training.warmup
    for scheduler in schedule.param_scheduler:
        begin, end = scheduler.get("begin", 0), scheduler.get("end", schedule.iterations)
        if not begin < end <= schedule.iterations:
            raise ValueError(
                f"expected every part of configs/schedules/{name}.py to lie within its {schedule.iterations} steps, "
                f"found {scheduler.type} from step {begin} to {end}; train longer, or warm up for less (`warmup`)"
            )
    schedule.iterations *= accumulation
    schedule.checkpoint_interval *= accumulation
    schedule.optim_wrapper.accumulative_counts = accumulation
    precision.use_precision(schedule.optim_wrapper, training)
    return schedule


def _dataset_files(files: DataPaths, split: str) -> dict[str, Any]:
    # Absolute-free on purpose: the configuration means the same in every checkout.
    return dict(data_root="", ann_file=str(files.annotations(split)), data_prefix=dict(img=f"{files.images}/"))


def write_configs(experiment: Experiment, only: Collection[Path] = ()) -> list[Path]:
    """Write the configuration of every cell, and of every warm start, or those of the paths ``only``; return the paths.

    Raises:
        ValueError: the experiment has no training with a configuration at one of ``only``.
    """
    composed: dict[Path, Callable[[], Config]] = {
        cell.paths(experiment).config: partial(cell_config, experiment, cell.architecture, cell.activation, cell.seed)
        for cell in matrix.cells(experiment)
    }
    if experiment.warm_start is not None:
        for architecture in experiment.architectures:
            path = ExperimentPaths(experiment.name).warm_start(architecture).config
            composed[path] = partial(warm_start_config, experiment, architecture)
    if unknown := set(only) - set(composed):
        known = ", ".join(map(str, composed))
        raise ValueError(f"expected configurations of {experiment.name} ({known}), found {sorted(map(str, unknown))}")
    chosen = list(only or composed)
    for path in chosen:
        config = composed[path]()
        with atomic_path(path) as temporary:
            temporary.write_text(as_text(experiment, config, path))
    return chosen


def as_text(experiment: Experiment, config: Config, path: Path) -> str:
    """The file of a configuration, headed by what the training costs and the command that runs it."""
    steps, cell = config.train_cfg.max_iters // config.optim_wrapper.accumulative_counts, config.cell
    return (
        f'"""{cell.architecture}, {cell.activation}, seed {cell.seed} of experiment {experiment.name}.\n\n'
        f"{steps} steps of {config.batch} images on {experiment.gpus} GPU(s).\n"
        f'python -m gumbel train {path}\n"""\n\n{config.pretty_text}'
    )
