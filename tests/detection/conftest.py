"""Small data and a small experiment that detection tests share."""

import logging
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from gumbel.datasets.mini.generate import generate
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment

TINY = {
    "name": "tiny",
    "description": "A matrix for tests.",
    "reproduction": False,
    "dataset": "mini",
    "data_root": "data/mini",
    "data": {
        "image_size": 64,
        "categories": 9,
        "drawings": 1,
        "train_images": 24,
        "val_images": 6,
        "warm_start_images": 12,
        "warm_start_categories": 8,
    },
    "architectures": ["mask_rcnn_r50", "cascade_r101", "htc_r101"],
    "activations": ["softmax", "sigmoid", "gumbel"],
    "schedule": "mini",
    "batch": 4,
    "widths": {
        "base_channels": 8,
        "fpn_channels": 16,
        "fc_channels": 32,
        "mask_convs": 1,
        "anchor_scale": 4,
    },
    "regions": {"train_proposals": 32, "test_proposals": 32, "sampled": 16, "detections": 20},
    "released_scoring": ["sigmoid"],
    "warm_start": {"split": "warm_start", "schedule": "mini_warm_start"},
    "snapshots": [50],
}


@pytest.fixture(autouse=True)
def quiet():
    """mmengine lists every parameter that it initialises."""
    MMLogger.get_current_instance().setLevel(logging.WARNING)


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    return matrix.parse(TINY)


@pytest.fixture(scope="session")
def tiny_data(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds ``data/mini``."""
    folder = tmp_path_factory.mktemp("tiny")
    generate(matrix.data(tiny).settings, folder / "data" / "mini")
    return folder
