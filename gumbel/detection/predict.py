"""Predict splits with a trained cell and write the detections.

A prediction is made in parts of some hundred images, each a file of its own beside the file that they become. One that
is killed goes on behind its last finished part, and the processes of a job share the parts.
"""

import hashlib
import inspect
import json
import shutil
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import distributed

from gumbel.detection.checkpoints import load_weights
from gumbel.detection.losses import classification_losses, set_scoring
from gumbel.detection.masks import encode, keep_unpasted
from gumbel.detection.options import keep_channels_last
from gumbel.detection.parts import check_categories
from gumbel.detection.precision import set_float32
from gumbel.detection.processes import Processes
from gumbel.evaluation.predictions import PredictionWriter
from gumbel.jobs import manifest
from gumbel.jobs.terminal import track
from gumbel.paths import parts as parts_folder

SCORINGS = ("matched", "released")
#: Images of a part: a multiple of any batch. On LVIS's val, half a minute of a GPU.
PART = 256
_WAITING = 4  # batches that the GPU may be ahead of the CPU, which encodes their masks


def predict(config_path: Path, checkpoint: Path, outputs: Mapping[tuple[str, str], Path]) -> None:
    """Write detections (Parquet, one row a detection), of each split and under each scoring that ``outputs`` asks for.

    A split's images go through the detector once, whatever they are scored with. Where ``torchrun`` started several
    processes, each takes its share of the parts, and the first puts them together.

    Args:
        config_path: the resolved configuration of the cell.
        checkpoint: its trained weights.
        outputs: the file of each pair of split and scoring. A split is a key of the configuration's
            ``test_dataloaders``. The scoring ``matched`` scores with the activation that was trained; ``released``
            with softmax, as mmdet does for a loss that does not say otherwise.

    Raises:
        ValueError: unknown split or scoring.
    """
    config = Config.fromfile(config_path)
    for split, scoring in outputs:
        if split not in config.test_dataloaders:
            known = ", ".join(config.test_dataloaders)
            raise ValueError(f"expected a split of {config_path} ({known}), found {split!r}; add it to `splits`")
        if scoring not in SCORINGS:
            raise ValueError(f"expected scoring {' or '.join(SCORINGS)}, found {scoring!r}")
    processes = Processes()
    processes.connect()
    model = build_trained(config, checkpoint)
    facts = {"config_sha256": manifest.sha256(config_path), "checkpoint_sha256": manifest.sha256(checkpoint)}
    for split in dict.fromkeys(split for split, _ in outputs):
        settings = config.test_dataloaders[split]
        loader = Runner.build_dataloader(dict(settings, sampler=[]))  # the indices of images, which follow
        check_categories(model, loader.dataset)
        annotations = manifest.sha256(Path(settings.dataset.ann_file))
        files = {}
        for scoring in [scoring for other, scoring in outputs if other == split]:
            set_scoring(model, scoring)
            loss_cls = repr(classification_losses(model)[0])
            own = {"annotations_sha256": annotations, "scoring": scoring, "loss_cls": loss_cls}
            files[scoring] = _Parts(outputs[split, scoring], facts | own)
        starts = range(0, len(loader.dataset), PART)
        mine = starts[processes.rank :: processes.number]
        left = [start for start in mine if not all(parts.path(start).exists() for parts in files.values())]
        _predict_parts(model, loader, left, files)
        if distributed.is_initialized():
            distributed.barrier()
        if processes.rank == 0:
            for parts in files.values():
                parts.join(starts)
    processes.leave()


def build_trained(config: Config, checkpoint: Path) -> BaseModel:
    """The model of ``config`` with the weights of ``checkpoint``, ready to predict."""
    set_float32(config.get("precision", "fp32"))
    model = build_model(config)
    model.load_state_dict(load_weights(checkpoint))
    if get_device() == "cpu":  # where it halves the time, of transposed convolutions above all
        keep_channels_last(model)
    return model.to(get_device()).eval()


def build_model(config: Config) -> BaseModel:
    """The model of ``config`` without weights: a checkpoint will bring all, those that a training starts from too."""
    init_default_scope("mmdet")
    config.model.backbone.init_cfg = None
    return MODELS.build(config.model)


class Detector:
    """Detections of a model under several scorings: of all that comes before the scores, there is one pass.

    Backbone, neck, proposals and box heads are the scorings' common part. What each scoring takes for a detection goes
    through the mask heads.

    Raises:
        TypeError: mask heads that do not paste as mmdet's own.
    """

    def __init__(self, model: Any, scorings: Collection[str]) -> None:
        keep_unpasted(model)
        self.model = model
        self.scorings = scorings
        self._boxes = _Once(model.roi_head._bbox_forward)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[tuple[DetDataSample, InstanceData]]]:
        """For each scoring, the images of a batch of the data loader with what is found in each, as arrays.

        These are labels (n,), scores (n,), bboxes (n, 4) x1, y1, x2, y2 in its pixels, and masks (n, h, w):
        probabilities inside the boxes.
        """
        model = self.model
        self._boxes.known.clear()
        model.roi_head._bbox_forward = self._boxes
        try:
            batch = model.data_preprocessor(batch, training=False)
            samples = batch["data_samples"]
            features = model.extract_feat(batch["inputs"])
            proposals = model.rpn_head.predict(features, samples, rescale=False)
            found = {}
            for scoring in self.scorings:
                set_scoring(model, scoring)
                results = model.roi_head.predict(features, proposals, samples, rescale=True)
                found[scoring] = [(image, each.cpu().numpy()) for image, each in zip(samples, results, strict=True)]
            return found
        finally:
            del model.roi_head._bbox_forward  # the method of its class again


@dataclass
class _Once:
    """A roi head's ``_bbox_forward``, called once for equal RoIs of a stage."""

    forward: Callable[..., dict[str, Any]]
    known: list[tuple[int, torch.Tensor, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, *values: Any, **named: Any) -> dict[str, Any]:
        given = inspect.signature(self.forward).bind(*values, **named).arguments
        stage, rois = given.get("stage", 0), given["rois"]
        for other, seen, results in self.known:
            if other == stage and torch.equal(seen, rois):
                return results
        results = self.forward(*values, **named)
        self.known.append((stage, rois, results))
        return results


@dataclass(frozen=True)
class _Parts:
    """The finished parts of a file of predictions: in a folder beside it, named by all that they are made from."""

    output: Path
    metadata: dict[str, str]

    @property
    def folder(self) -> Path:
        made_from = json.dumps([self.metadata, PART, torch.__version__])
        return parts_folder(self.output, hashlib.sha256(made_from.encode()).hexdigest()[:16])

    def path(self, start: int) -> Path:
        """The part whose first image is ``start``."""
        return self.folder / f"{start}.parquet"

    def join(self, starts: range) -> None:
        """Write the file, and remove the parts with whatever killed and other predictions have left."""
        with PredictionWriter(self.output, self.metadata) as writer:
            for start in starts:
                writer.copy(self.path(start))
        for left in self.output.parent.glob(parts_folder(self.output, "*").name):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _predict_parts(model: BaseModel, loader: Any, starts: Collection[int], files: Mapping[str, _Parts]) -> None:
    """Predict the parts that begin at the images ``starts``. Masks are encoded while the next batches are detected."""
    number = len(loader.dataset)
    images = {start: range(start, min(start + PART, number)) for start in starts}
    loader.sampler[:] = [index for part in images.values() for index in part]
    category_ids = np.asarray(loader.dataset.cat_ids)
    threshold = float(model.roi_head.test_cfg.mask_thr_binary)
    detect = Detector(model, files)
    batches = track(loader, "predicting batches")
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as writing, torch.inference_mode():
        for start, part in images.items():
            opened = ExitStack()
            writers = {
                scoring: opened.enter_context(PredictionWriter(parts.path(start), parts.metadata))
                for scoring, parts in files.items()
            }
            for batch in islice(batches, -(-len(part) // loader.batch_size)):
                waiting.append(writing.submit(_write, writers, detect(batch), category_ids, threshold))
                if len(waiting) > _WAITING:
                    waiting.popleft().result()
            waiting.append(writing.submit(opened.close))
        for each in waiting:
            each.result()


def _write(
    writers: Mapping[str, PredictionWriter],
    found: Mapping[str, list[tuple[DetDataSample, InstanceData]]],
    category_ids: np.ndarray,
    threshold: float,
) -> None:
    for scoring, images in found.items():
        for image, instances in images:
            boxes = instances.bboxes.astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            height, width = map(int, image.ori_shape[:2])
            masks = encode(instances.masks, instances.bboxes, height, width, threshold)
            scores = instances.scores.astype(np.float64)
            writers[scoring].write(image.img_id, category_ids[instances.labels], scores, boxes, masks)
