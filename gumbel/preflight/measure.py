"""What a model costs on this machine's device: seconds a step, memory, the loss's share, images a second predicted."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor

from gumbel.detection import losses as _losses  # noqa: F401 - for mmdet's registry
from gumbel.detection import options, precision
from gumbel.detection.boxed_masks import BoxedMasks
from gumbel.detection.compose import cell_config
from gumbel.detection.masks import encode
from gumbel.detection.parts import box_heads, samplers, train_dataset
from gumbel.detection.predict import Detector
from gumbel.experiment.schema import Experiment, Training

#: Objects of an image, as LVIS has them: 12.7 a training image.
OBJECTS = 12
#: Steps before those that are timed, and the most and the fewest of these.
WARM_UP, MOST, FEWEST = 2, 30, 3
#: Categories of a RoI whose scores pass the threshold of prediction. Of a model without training all would.
CANDIDATES = 10
#: Side of a picture as a part of the side at which it is predicted: LVIS has 640 x 480, predicted at 1067 x 800.
PICTURE = 0.6


def build(config: Config) -> Any:
    """The model with fresh weights: what a pretrained backbone holds changes no check."""
    MMLogger.get_current_instance().setLevel("WARNING")  # it would list every parameter that is initialised
    settings = config.model.copy()
    settings.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(settings)
    model.init_weights()
    return model.train()


def noise(side: tuple[int, int], num_classes: int, images: int = 1, objects: int = 2) -> dict[str, Any]:
    """A batch of noise images of this height and width, with so many objects each.

    Their sides are spread evenly in their logarithm, from a fortieth to a half of the image's.
    """
    height, width = side
    random = np.random.default_rng(0)
    samples = []
    for _ in range(images):
        sides = np.exp(random.uniform(np.log(1 / 40), np.log(1 / 2), (objects, 2)))
        corners = random.uniform(0, 1, (objects, 2)) * (1 - sides)
        boxes = np.concatenate([corners, corners + sides], 1) * [width, height, width, height]
        corners = boxes.astype(int)
        crops = [np.ones((bottom - top + 1, right - left + 1), np.uint8) for left, top, right, bottom in corners]
        labels = np.append(random.integers(num_classes, size=objects - 1), num_classes - 1)
        picture = (max(1, round(PICTURE * height)), max(1, round(PICTURE * width)))
        metainfo = dict(img_shape=side, ori_shape=picture, scale_factor=(width / picture[1], height / picture[0]))
        sample = DetDataSample(metainfo=metainfo)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(labels),
            masks=BoxedMasks(crops, corners[:, 1::-1], height, width),
        )
        samples.append(sample)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator) for _ in samples]
    return dict(inputs=inputs, data_samples=samples)


def image_size(config: Config) -> tuple[int, int]:
    """Height and width of the largest training image, padded as the model pads it."""
    side = next((step.scales[-1] for step in train_dataset(config).pipeline if "scales" in step), None)
    if side is None:
        side = next((step.scale for step in train_dataset(config).pipeline if step.type == "Resize"), (128, 128))
    divisor = config.model.data_preprocessor.get("pad_size_divisor", 32)
    longer, shorter = (-(-length // divisor) * divisor for length in (max(side), min(side)))
    return shorter, longer


def measure(
    experiment: Experiment, architecture: str, training: Training, batches: Sequence[int], device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """Time what the model of ``architecture`` does on ``device``, and yield each finding as it comes.

    The learning rate is 0, so that noise cannot make the weights diverge; a step does all the same work.

    Args:
        training: its precision, memory format and whether it is compiled.
        batches: numbers of images in a step.
        seconds: in which all should be done; every finding rests on three repetitions at least.

    Yields:
        ``{"step": {"images", "seconds", "memory_bytes", "loss_shares"}}`` for each of ``batches``: the median of the
        steps, the most memory that PyTorch held (0 on a CPU), and the part of a step that each activation's loss
        would take; ``{"images_per_second", "encoded_per_second"}`` of prediction: what the device detects, and what a
        core meanwhile makes of the masks.

    Raises:
        ValueError: the device cannot compute in this precision.
        RuntimeError: out of memory, no compiler, and whatever else a device refuses.
    """
    init_default_scope("mmdet")
    precision.check_device(training.precision)
    precision.set_float32(training.precision)
    budget = seconds / (len(batches) + 1)
    first = experiment.activations[0]
    update = {"training": training, "cells": {}, "gpus": 1, "batch": training.images_per_gpu}
    alone = experiment.model_copy(update=update)
    configs = {name: cell_config(alone, architecture, name, 0) for name in experiment.activations}
    config = configs[first]
    model = build(config).to(device)
    classes = box_heads(model)[0].num_classes
    for hook in (options.ChannelsLastHook, options.OwnClassMasksHook, precision.Bfloat16Hook):
        if any(each.type == hook.__name__ for each in config.custom_hooks):
            hook().before_train(SimpleNamespace(model=model))
    config.optim_wrapper.optimizer.lr = 0.0
    wrapper = build_optim_wrapper(model, config.optim_wrapper)
    step = torch.compile(model.train_step) if training.compile else model.train_step
    for images in batches:
        batch = noise(image_size(config), classes, images, OBJECTS)
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        taken = _repeat(partial(step, batch, wrapper), device, budget)
        memory = torch.cuda.max_memory_reserved() if device == "cuda" else 0
        losses = {}
        for name, each in configs.items():
            stages = zip(box_heads(each.model), samplers(config.model), strict=True)
            losses[name] = sum(_loss_seconds(head, sampler.num * images, wrapper, device) for head, sampler in stages)
        shares = {name: loss / (taken - losses[first] + loss) for name, loss in losses.items()}
        yield {"step": dict(images=images, seconds=taken, memory_bytes=memory, loss_shares=shares)}
    yield _prediction(model, config, device, budget)


def _repeat(action: Callable[[], Any], device: str, budget: float) -> float:
    """Median seconds of ``action``, repeated while ``budget`` seconds last."""
    end = time.monotonic() + budget
    taken: list[float] = []
    while len(taken) < WARM_UP + FEWEST or (len(taken) < WARM_UP + MOST and time.monotonic() < end):
        _wait(device)
        start = time.perf_counter()
        action()
        _wait(device)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[WARM_UP:]))


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _loss_seconds(head: Any, rois: int, wrapper: Any, device: str) -> float:
    """Seconds of the classification loss of ``head``, forward and backward, on so many RoIs."""
    loss = MODELS.build(head.loss_cls).to(device)
    custom = getattr(loss, "custom_cls_channels", False)
    outputs = loss.get_cls_channels(head.num_classes) if custom else head.num_classes + 1
    layer = torch.nn.Linear(1, outputs, device=device)  # gives logits in the type that autocast computes in
    with wrapper.optim_context(layer):
        logits = layer(torch.zeros(rois, 1, device=device)).detach().requires_grad_()
        labels = torch.arange(rois, device=device) % (head.num_classes + 1)
        weights = torch.ones(rois, device=device)

        def once() -> None:
            torch.autograd.grad(loss(logits, labels, weights, avg_factor=float(rois)), logits)

        return _repeat(once, device, 0.1)


def _prediction(model: Any, config: Config, device: str, budget: float) -> dict[str, float]:
    """Images a second that are detected, with as many detections as are kept, and that a CPU encodes the masks of.

    Leaves ``model`` with scores that :func:`_scatter` makes.
    """
    model.eval()
    for head in box_heads(model):
        head.fc_cls.register_forward_hook(_scatter)
    batch = noise(image_size(config), box_heads(model)[0].num_classes, 1, OBJECTS)
    detect = Detector(model, ["matched"])
    with torch.inference_mode():
        detection = _repeat(partial(detect, batch), device, budget)
        [(image, found)] = detect(batch)["matched"]
    discs = np.tile(_disc(found.masks.shape[-1]), (len(found.masks), 1, 1))  # a model without training finds specks
    threshold = float(model.roi_head.test_cfg.mask_thr_binary)
    height, width = image.ori_shape
    encoding = _repeat(partial(encode, discs, found.bboxes, height, width, threshold), "cpu", budget / 10)
    return {"images_per_second": 1 / detection, "encoded_per_second": 1 / encoding}


def _disc(side: int) -> np.ndarray:
    """Probabilities (side, side) of an object that fills its box."""
    places = np.linspace(-1, 1, side, dtype=np.float32)
    return 1 / (1 + np.exp(10 * (np.hypot(places, places[:, None]) - 0.9)))


def _scatter(_: Any, __: Any, logits: Tensor) -> Tensor:
    """Logits of which :data:`CANDIDATES` a RoI are high, the same in every stage of a cascade."""
    rois, outputs = logits.shape
    found = torch.full_like(logits, -20.0)
    column = torch.arange(rois, device=logits.device)[:, None] + torch.arange(CANDIDATES, device=logits.device) * 97
    heights = torch.linspace(-1.0, 1.0, rois, device=logits.device, dtype=logits.dtype)
    return found.scatter_(1, column % outputs, heights[:, None].expand(-1, CANDIDATES))
