"""A finished cell, made by hand: nothing is trained."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pycocotools import mask as coco_mask

from gumbel.analysis.evaluate import write_evaluation
from gumbel.analysis.weight_norms import weight_norms
from gumbel.datasets.mini.generate import generate
from gumbel.detection.checkpoints import save_weights
from gumbel.detection.compose import cell_config, write_configs
from gumbel.detection.predict import build_model
from gumbel.evaluation.predictions import PredictionWriter
from gumbel.experiment import dependencies, matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs import manifest
from gumbel.jobs.files import atomic_path
from gumbel.paths import CellPaths, ExperimentPaths
from tests.detection.conftest import TINY

CELL = ("mask_rcnn_r50", "sigmoid", 0)  # scored in two ways


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return matrix.parse(TINY | {"architectures": [CELL[0]], "activations": [CELL[1], "gumbel"]})


@pytest.fixture(scope="session")
def paths(experiment: Experiment) -> CellPaths:
    return ExperimentPaths(experiment.name).cell(*CELL)


@pytest.fixture(scope="session")
def checkouts(experiment: Experiment, paths: CellPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sender`` has data, warm start and the finished cell; ``receiver`` only what a cell is made from."""
    top = tmp_path_factory.mktemp("checkouts")
    receiver, sender = top / "receiver", top / "sender"
    generate(matrix.data(experiment).settings, receiver / "data/mini")
    files = ExperimentPaths(experiment.name)
    with atomic_path(receiver / files.warm_start(CELL[0]).checkpoint) as temporary:
        temporary.write_bytes(b"a warm start")
    (receiver / files.experiment).write_text(yaml.safe_dump(experiment.model_dump(mode="json")))
    shutil.copytree(receiver, sender)
    before = Path.cwd()
    os.chdir(sender)
    try:
        _finish(experiment, paths)
    finally:
        os.chdir(before)
    return top


@pytest.fixture
def sender(checkouts: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkouts / "sender", tmp_path / "sender"))


@pytest.fixture
def receiver(checkouts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The receiver's checkout, which is the working folder."""
    folder = Path(shutil.copytree(checkouts / "receiver", tmp_path / "receiver"))
    monkeypatch.chdir(folder)
    return folder


def _finish(experiment: Experiment, paths: CellPaths) -> None:
    config = cell_config(experiment, *CELL)
    write_configs(experiment, [paths.config])
    data = matrix.data(experiment)
    train, warm_start = data.annotations("train"), ExperimentPaths(experiment.name).warm_start(CELL[0]).checkpoint
    for seed, each in enumerate([paths, paths.at(50)]):
        torch.manual_seed(seed)
        save_weights(build_model(cell_config(experiment, *CELL)), each.checkpoint)
    iterations = config.train_cfg.max_iters
    rows = pd.DataFrame({"iteration": np.arange(1.0, iterations + 1), "loss": 1.0, "loss_cls": 0.5, "seconds": 0.1})
    rows.to_parquet(paths.history, index=False)
    manifest.Record().write(
        paths.manifest,
        **{"config_sha256": manifest.sha256(paths.config), "data_sha256": manifest.sha256s([train, warm_start])},
        **{"code": dependencies.code(CELL[1]), "checkpoint_sha256": manifest.sha256(paths.checkpoint)},
        **{"seconds": 30.0, "seed": 0, "iterations": iterations, "steps": iterations, "batch_size": experiment.batch},
        **{"device": "cuda:0", "gpu": "a GPU", "world_size": 1, "precision": "fp32", "learning_rate": 0.002},
        **{"parameters": 1000, "loss_cls": ["a loss"]},
    )
    weight_norms(paths.checkpoint, train).to_parquet(paths.weight_norms, index=False)
    for at, scoring in ((paths, "matched"), (paths, "released"), (paths.at(50), "matched")):
        _predict(data.annotations("val"), at, manifest.sha256(paths.config), scoring)
        write_evaluation(data.annotations("val"), at.predictions("val", scoring), at.metrics("val", scoring))


def _predict(annotations: Path, at: CellPaths, config_sha256: str, scoring: str) -> None:
    """The objects themselves, found with falling scores, and each third one taken for another category."""
    record = json.loads(annotations.read_text())
    other = record["categories"][0]["id"]
    facts = {"config_sha256": config_sha256, "checkpoint_sha256": manifest.sha256(at.checkpoint)}
    facts |= {"annotations_sha256": manifest.sha256(annotations), "scoring": scoring}
    with PredictionWriter(at.predictions("val", scoring), facts) as writer:
        for image in record["images"]:
            found = [each for each in record["annotations"] if each["image_id"] == image["id"]][:5]
            size = image["height"], image["width"]
            masks = [coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], *size)) for each in found]
            scores = np.linspace(0.9, 0.2, len(found))
            categories = [each["category_id"] if number % 3 else other for number, each in enumerate(found)]
            writer.write(image["id"], categories, scores, [each["bbox"] for each in found], masks)
