"""Train the classification layer alone, on stored features of a frozen detector.

A cheap estimate of how activations compare: the detector is read once, and each activation then costs a linear layer.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch import Tensor, nn

from gumbel.detection.checkpoints import load_weights, of_classifier, save_weights
from gumbel.detection.loop import BATCH, seed_generators
from gumbel.detection.losses import classification_losses
from gumbel.detection.parts import box_heads, samplers
from gumbel.detection.predict import build_model
from gumbel.jobs import manifest
from gumbel.jobs.files import atomic_path
from gumbel.paths import TrainingPaths

#: Of an optimiser's configuration, what a single layer in full precision needs.
_OPTIMISER = ("optimizer", "clip_grad", "accumulative_counts")


def store_features(config_path: Path, checkpoint: Path, images: int, rois: int | None, output: Path) -> None:
    """Write what the classification layer of a trained detector sees of its training images.

    The training's own batches go through the detector in evaluation mode, and mmdet's own assigners and samplers choose
    the RoIs: what reaches ``fc_cls`` and its loss is written down. Each row group of ``output`` (Parquet) is a batch;
    a row is a RoI of a ``stage`` with its ``label``, the ``weight`` of its loss, and its ``features`` (half precision).

    Args:
        config_path: configuration of the detector's cell.
        checkpoint: its weights.
        images: at most so many training images, the first that the training's sampler draws.
        rois: RoIs sampled per image and stage; None keeps the configuration's.
    """
    config = Config.fromfile(config_path)
    if rois is not None:
        for sampler in samplers(config.model):
            sampler.num = min(rois, sampler.num)
    model = build_model(config)
    model.load_state_dict(load_weights(checkpoint))
    model = model.to(get_device()).eval()
    loader = Runner.build_dataloader(config.train_dataloader)
    batches = -(-min(images, len(loader.dataset)) // loader.batch_size)
    width = box_heads(model)[0].fc_cls.in_features
    schema = pa.schema(
        {"stage": pa.int8(), "label": pa.int32(), "weight": pa.float32(), "features": pa.list_(pa.float16(), width)},
        metadata={"config_sha256": manifest.sha256(config_path), "checkpoint_sha256": manifest.sha256(checkpoint)},
    )
    iterator = iter(loader)
    with atomic_path(output) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for iteration in range(batches):
            seed_generators(config.randomness.seed, BATCH, iteration)
            tables = _tables(model, next(iterator), schema)
            writer.write_table(pa.concat_tables(tables), row_group_size=2**20)


def _tables(model: Any, batch: dict[str, Any], schema: pa.Schema) -> list[pa.Table]:
    """What each stage's ``fc_cls`` and ``loss_cls`` are given in the detector's own loss of a batch."""
    heads = box_heads(model)
    seen: list[dict[str, Tensor]] = [{} for _ in heads]

    def note(stage: int, names: list[str], _: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen[stage].update(zip(names, arguments, strict=False))

    handles = []
    for k, head in enumerate(heads):
        handles.append(head.fc_cls.register_forward_pre_hook(partial(note, k, ["features"])))
        handles.append(head.loss_cls.register_forward_pre_hook(partial(note, k, ["logits", "label", "weight"])))
    try:
        with torch.no_grad():
            model(**model.data_preprocessor(batch, training=True), mode="loss")
    finally:
        for handle in handles:
            handle.remove()
    return [_table(stage, noted, schema) for stage, noted in enumerate(seen) if "label" in noted]


def _table(stage: int, noted: dict[str, Tensor], schema: pa.Schema) -> pa.Table:
    features = noted["features"].half().cpu().numpy()
    columns = [
        np.full(len(features), stage, np.int8),
        noted["label"].int().cpu().numpy(),
        noted["weight"].float().cpu().numpy(),
        pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1]),
    ]
    return pa.table(columns, schema=schema)


def train_head(config_path: Path, detector: Path, features: Path, root: Path) -> None:
    """Train the classification layer of a cell on stored features, and put it into the frozen detector.

    The layer starts, and its loss, optimiser, schedule and number of iterations are, as ``config_path`` configures the
    cell; an iteration sees a stored batch. Files are written below ``root`` as of any training
    (``TrainingPaths``): the checkpoint is the whole detector, for the prediction stage.

    Args:
        config_path: configuration of the cell.
        detector: the frozen detector's weights, from which ``features`` were stored.
        features: written by :func:`store_features`.
        root: folder of the results.

    Raises:
        ValueError: the features are of other weights.
        FloatingPointError: the loss is not finite.
    """
    record = manifest.Record()
    stored = pq.ParquetFile(features)
    digest = manifest.sha256(detector)
    if stored.schema_arrow.metadata[b"checkpoint_sha256"].decode() != digest:
        raise ValueError(f"expected {features} of the weights {detector}, found those of others; store them anew")
    config = Config.fromfile(config_path)
    seed = config.randomness.seed
    model = _with_new_classifiers(config, load_weights(detector), seed).to(get_device())
    layers = nn.ModuleList(head.fc_cls for head in box_heads(model))
    history = pd.DataFrame(_fit(model, layers, config, _batches(stored, config.train_cfg.max_iters, seed)))

    paths = TrainingPaths(root)
    with atomic_path(paths.history) as temporary:
        history.to_parquet(temporary, index=False)
    record.write(
        paths.manifest,
        config_sha256=manifest.sha256(config_path),
        detector={"path": str(detector), "sha256": digest},
        features_sha256=manifest.sha256(features),
        seed=seed,
        iterations=len(history),
        loss_cls=[repr(loss) for loss in classification_losses(model)],
        trained_parameters=sum(parameter.numel() for parameter in layers.parameters()),
    )
    save_weights(model, paths.checkpoint)


def _with_new_classifiers(config: Config, weights: dict[str, Tensor], seed: int) -> nn.Module:
    """The cell's model with the detector's weights, but for its classifiers, which start as the cell's do."""
    model = build_model(config)
    MMLogger.get_current_instance().setLevel(config.log_level)  # it lists every parameter that it initialises
    torch.manual_seed(seed)
    for head in box_heads(model):
        head.init_weights()
    own = {name: tensor for name, tensor in model.state_dict().items() if of_classifier(name)}
    model.load_state_dict({name: tensor for name, tensor in weights.items() if not of_classifier(name)} | own)
    return model


def _batches(stored: pq.ParquetFile, iterations: int, seed: int) -> Iterator[pa.Table]:
    """Row groups in a random order, a new one each time that all have been read."""
    draw = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(iterations):
        order = order or draw.permutation(stored.num_row_groups).tolist()
        yield stored.read_row_group(order.pop())


def _fit(
    model: nn.Module, layers: nn.ModuleList, config: Config, batches: Iterator[pa.Table]
) -> Iterator[dict[str, float]]:
    """Train ``layers``, one a stage; yield the loss of each iteration, summed over stages as mmdet weighs them."""
    settings = {key: config.optim_wrapper[key] for key in _OPTIMISER if key in config.optim_wrapper}
    optimiser = build_optim_wrapper(layers, settings)
    optimiser.initialize_count_status(layers, 0, config.train_cfg.max_iters)
    schedulers = [PARAM_SCHEDULERS.build(dict(each, optimizer=optimiser)) for each in config.param_scheduler]
    stage_weights = getattr(model.roi_head, "stage_loss_weights", [1.0])
    losses = classification_losses(model)
    for iteration, batch in enumerate(batches, start=1):
        total = torch.zeros((), device=next(layers.parameters()).device)
        for stage, (layer, loss) in enumerate(zip(layers, losses, strict=True)):
            features, label, weight = _tensors(batch, stage, total.device)
            counted = max(int((weight > 0).sum()), 1)  # as mmdet's box head averages
            total = total + stage_weights[stage] * loss(layer(features), label, weight, avg_factor=counted)
        if not torch.isfinite(total):
            raise FloatingPointError(f"expected a finite loss, found {total.item()} at iteration {iteration}")
        optimiser.update_params(total)
        if iteration % optimiser._accumulative_counts == 0:
            for scheduler in schedulers:
                scheduler.step()
        yield {"iteration": iteration, "loss": total.item(), "lr": optimiser.get_lr()["lr"][0]}


def _tensors(batch: pa.Table, stage: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, D), labels (N,) and weights (N,) of a stage's RoIs."""
    rows = batch.filter(pc.equal(batch["stage"], stage)).combine_chunks()
    width = batch.schema.field("features").type.list_size
    features = rows["features"].chunk(0).flatten().to_numpy(zero_copy_only=False) if len(rows) else np.empty(0)
    return (
        torch.from_numpy(features.astype(np.float32).reshape(-1, width)).to(device),
        torch.from_numpy(rows["label"].to_numpy().astype(np.int64)).to(device),
        torch.from_numpy(rows["weight"].to_numpy().copy()).to(device),
    )
