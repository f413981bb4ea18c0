"""ImageNet weights that trainings start from: downloaded once, where there is a network, and verified."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from gumbel import paths
from gumbel.datasets.published import Download

if TYPE_CHECKING:
    from gumbel.datasets.download import Patience


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
    rows = yaml.safe_load(FILE.read_text())
    return {row["name"]: Backbone(**row) for row in rows}


def provide(backbone: Backbone, patience: "Patience | None" = None) -> None:
    """Download ``backbone`` to its path, or verify the file that is there. Raises as ``download.fetch``."""
    from gumbel.datasets.download import PATIENCE, fetch

    fetch(backbone, backbone.path, patience or PATIENCE)
    print(f"{backbone.path}: verified")
