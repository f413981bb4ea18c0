"""The architectures: every model file of configs/models/ is one, and says all about itself in ``architecture``.

>>> get("mask_rcnn_r50").label
'M-R50'
"""

from functools import cache

from pydantic import Field

from gumbel import paths
from gumbel.datasets import backbones
from gumbel.literals import keywords
from gumbel.section import Section

FOLDER = paths.CONFIGS / "models"


class Architecture(Section):
    """A two-stage detector, beside its mmdet configuration."""

    name: str
    label: str = Field(description="short name, as on the paper's figure")
    detector: str = Field(description="long name")
    backbone: str | None = Field(
        description="ImageNet weights that it starts from: a name in configs/models/backbones.yaml; None: from scratch"
    )
    hours: int = Field(gt=0, description="expected GPU-hours of a training with the paper's schedule, on a V100")
    memory_gb: int = Field(gt=0, description="main memory of a training, for each GPU")

    @property
    def weights(self) -> backbones.Backbone | None:
        """The file that it starts from."""
        return None if self.backbone is None else backbones.backbones()[self.backbone]


def names() -> tuple[str, ...]:
    """Names of the architectures, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py")))


@cache
def get(name: str) -> Architecture:
    """The architecture called ``name``; its model file is read, not run.

    Raises:
        ValueError: there is no such file, or it does not say what :class:`Architecture` asks for.
    """
    if name not in names():
        raise ValueError(f"expected one of {', '.join(names())}; found {name!r}")
    path = FOLDER / f"{name}.py"
    where = f"{path.relative_to(paths.REPOSITORY)}"
    try:
        found = Architecture(name=name, **keywords(path, "architecture"))
    except ValueError as error:
        raise ValueError(
            f"expected `architecture = dict(label=..., ...)` in {where}, as in mask_rcnn_r50.py; {error}"
        ) from None
    if found.backbone is not None and found.backbone not in backbones.backbones():
        known = ", ".join(backbones.backbones())
        raise ValueError(f"expected a backbone among {known} in {where}, found {found.backbone!r}; correct the name")
    return found
