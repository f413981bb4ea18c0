"""ImageNet weights that trainings start from: downloaded once, where there is a network, and verified."""

from functools import cache
from pathlib import Path

import yaml

from gumbel import paths
from gumbel.datasets.download import PATIENCE, Download, Patience, fetch


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
    rows = yaml.safe_load((paths.CONFIGS / "models" / "backbones.yaml").read_text())
    return {row["name"]: Backbone(**row) for row in rows}


def provide(backbone: Backbone, patience: Patience = PATIENCE) -> None:
    """Download ``backbone`` to its path, or verify the file that is there. Raises as :func:`fetch`."""
    fetch(backbone, backbone.path, patience)
    print(f"{backbone.path}: verified")
