"""The ImageNet weights: named as the paper names them, verified, and found where trainings look."""

import csv
import hashlib

import pytest

from gumbel.datasets import backbones
from gumbel.experiment import architectures, matrix
from gumbel.paths import CONFIGS
from tests.datasets.server import serve

LVIS = matrix.load(CONFIGS / "experiments" / "lvis.yaml")
CELLS = {"mask_rcnn_r50": "M-R50", "mask_rcnn_r101": "M-R101", "mask_rcnn_x101": "M-X101"}
CELLS |= {"cascade_r101": "C-R101", "htc_r101": "H-R101"}


@pytest.mark.parametrize("architecture", LVIS.architectures)
def test_every_architecture_starts_from_the_weights_that_its_released_recipes_name(architecture):
    with (CONFIGS / "paper" / "recipes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["cell"] == f"{CELLS[architecture]} 1x random"]
    released = {row["pretrained"] for row in rows if "://" in row["pretrained"]}
    weights = architectures.get(architecture).weights
    assert weights is not None
    assert released == {weights.paper}


@pytest.mark.parametrize("name", backbones.backbones())
def test_the_hash_begins_with_the_digits_that_publishers_put_in_the_name(name):
    backbone = backbones.backbones()[name]
    assert backbone.url.endswith(f"/{name}.pth")
    assert backbone.sha256.startswith(name.rpartition("-")[2])
    assert len(backbone.sha256) >= 8


def test_weights_are_downloaded_to_where_trainings_look_unless_they_are_others(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pth").write_bytes(b"weights")
    digits = hashlib.sha256(b"weights").hexdigest()[:8]
    with serve(tmp_path) as server:
        ours = backbones.backbones()["resnext101_64x4d-ee2c6f71"].model_copy(
            update={"url": f"{server.url}/weights.pth", "sha256": digits}
        )
        backbones.provide(ours)
        assert ours.path.read_bytes() == b"weights"
        ours.path.unlink()
        with pytest.raises(ValueError, match=r"expected .* of SHA-256 ee2c6f71; found 7 bytes"):
            backbones.provide(ours.model_copy(update={"sha256": "ee2c6f71"}))
        assert not ours.path.exists()
