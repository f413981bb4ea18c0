"""ImageNet weights that trainings start from: downloaded once, where there is a network, and verified."""

from functools import cache
from pathlib import Path

import yaml

from gumbel import paths
from gumbel.datasets.published import Download

FILE = paths.CONFIGS / "models" / "backbones.yaml"


class Backbone(Download):
    """Weights of a backbone; ``paper`` is what the paper's configurations call them."""

    name: str
    paper: str

    @property
    def path(self) -> Path:
        return paths.backbone(self.name)


@cache
def backbones() -> dict[str, Backbone]:
    """Every file of configs/models/backbones.yaml by its name."""
    return {row["name"]: Backbone(**row) for row in yaml.safe_load(FILE.read_text())}


def provide(backbone: Backbone) -> None:
    """Download ``backbone`` to its path, or verify the file that is there. Raises as ``download.fetch``."""
    from gumbel.datasets.download import fetch

    fetch(backbone, backbone.path)
    print(f"{backbone.path}: verified")
