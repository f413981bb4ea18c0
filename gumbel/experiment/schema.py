"""The run configuration: one pydantic model, unknown keys refused.

An experiment is a YAML file in ``configs/experiments/``. The reference table in
``docs/experiment.md`` is generated from the descriptions here.
"""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gumbel.experiment.inheritance import recipes
from gumbel.section import Section

Scoring = Literal["matched", "released"]
Precision = Literal["fp32", "tf32", "fp16", "bf16"]
#: PyTorch, NumPy and the processes that load images, which add their number, are all seeded with it.
Seed = Annotated[int, Field(ge=0, lt=2**31)]
#: The recipe of an experiment that names none.
RECIPE = "1x"


def _of_recipe(key: str) -> Callable[[dict[str, Any]], Any]:
    """What the recipe says where the experiment does not; an unknown recipe is refused afterwards."""
    return lambda given: getattr(recipes().get(given.get("recipe", RECIPE), recipes()[RECIPE]), key)


class Classifier(Section):
    """How the classification layer starts."""

    weight: float | None = Field(
        None, description="constant that all classifier weights start from; null keeps mmdet's initialisation"
    )
    bias: dict[str, float] = Field(
        {}, description="bias per activation; an activation that is not named gets the bias of `prior`"
    )
    prior: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01, description="score that every class of the other activations starts from"
    )
    other_layers: Literal["mmdet", "pytorch"] = Field(
        "mmdet",
        description="who initialises the other layers of the box head: mmdet, or PyTorch's default, to which the "
        "released override of the classifier leaves them",
    )


class Widths(Section):
    """The one override that makes a full model small."""

    base_channels: int = Field(
        64, ge=1, description="channels of the first residual stage (64 at full width); ResNeXt groups shrink alike"
    )
    fpn_channels: int = Field(256, ge=1, description="channels of FPN, RPN, RoI and mask heads (256 at full width)")
    fc_channels: int = Field(
        1024, ge=1, description="width of the box head's fully connected layers (1024 at full width)"
    )
    mask_convs: int = Field(4, ge=0, description="convolutions of the mask head (4 in the paper)")
    anchor_scale: int = Field(8, ge=1, description="anchor side in units of the stride (8 in the paper)")
    roi_samples: int = Field(
        0,
        ge=0,
        description="sampling points per side of a bin in RoI pooling; 0 (in the paper): depends on the RoI's size",
    )


class Regions(Section):
    """How many regions of an image are used; null keeps the architecture's number."""

    train_proposals: int | None = Field(None, ge=1, description="proposals kept per training image")
    test_proposals: int | None = Field(None, ge=1, description="proposals kept per test image")
    sampled: int | None = Field(None, ge=1, description="RoIs sampled per training image and stage (512 in the paper)")
    detections: int | None = Field(None, ge=1, description="detections kept per test image (300 in the paper)")


class Training(Section):
    """How a cell is trained, beside its schedule. It does not depend on the number of GPUs."""

    images_per_gpu: int = Field(4, ge=1, description="images that a GPU loads at a time")
    precision: Precision = Field(
        "fp32",
        description="fp16 and bf16 compute under autocast; tf32 rounds the factors of float32 products, as bf16 does "
        "where it stays in float32, and fp32 rounds nowhere. fp16 and tf32 need a GPU, bf16 and tf32 one since Ampere",
    )
    loss_scale: float = Field(512.0, gt=0, description="constant that the loss is multiplied by in fp16")
    warmup: int | None = Field(None, ge=1, description="steps of the linear warm-up; null keeps the schedule's")
    channels_last: bool = Field(False, description="keep convolutions in the channels-last memory format")
    own_class_masks: bool = Field(
        False, description="let mask heads compute the class of each object alone, as predictions do: the same loss"
    )
    compile: bool = Field(False, description="compile the training step with torch.compile")


class CellTraining(Section):
    """Where a cell differs from `training`; null keeps its value."""

    images_per_gpu: int | None = Field(None, ge=1, description="as in `training`")
    precision: Precision | None = Field(None, description="as in `training`")
    warmup: int | None = Field(None, ge=1, description="as in `training`")


class Gol(Section):
    """What the authors' full GOL adds to the activation; each part can be set separately."""

    drop_below: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="drop loss: categories in less than this share of the training images are spared most negatives",
    )
    normed_masks: bool = Field(False, description="predict masks with normalised weights and features (NormedConv2d)")
    polygons: bool = Field(False, description="cut mask targets out of polygons instead of rasterised masks")
    nms: float | None = Field(
        None, gt=0, lt=1, description="IoU above which NMS drops a detection; null keeps the architecture's (0.5)"
    )


class WarmStart(Section):
    """Starting weights that an architecture's activations share, as ImageNet weights in the full recipe."""

    split: str = Field(description="split that it is trained on")
    schedule: str = Field(description="file in configs/schedules/ that trains it")


class Subset(Section):
    """Part of the training images, chosen by a rule that keeps every category's place in the tail."""

    images_per_category: int = Field(
        ge=1,
        description="training images that each category keeps, first in the order of a hash of the image id; "
        "an image stays if any of its categories keeps it",
    )


class HeadOnly(Section):
    """The cheap estimate of `snakemake head_only`: only the classification layer is trained, on cached features."""

    detector: str | None = Field(
        None, description="activation whose trained cell is the frozen detector of all; null: the experiment's first"
    )
    images: int = Field(20_000, ge=1, description="training images whose features are cached, at most")
    rois: int | None = Field(128, ge=1, description="RoIs cached per image and stage; null keeps the architecture's")


class Source(Section):
    """Which data an experiment is about."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="folder of the results")]
    dataset: str = Field(description="data set: a folder in gumbel/datasets/")
    data_root: Path = Field(description="folder of the data set; for LVIS, any usual layout (docs/data.md)")
    data: dict[str, Any] = Field({}, description="settings of the data set: sections below")


class Experiment(Source):
    """A named run: which cells, on which data, how trained and how judged."""

    description: str = Field(description="one sentence for the report's first line")
    reproduction: bool = Field(
        description="whether it follows the paper's recipe, so that absolute numbers may be compared"
    )
    recipe: str = Field(
        RECIPE,
        description="released recipe that it is compared with: one of `recipes` in configs/paper/recipe.yaml, which "
        "implies `schedule` and `oversample`",
    )
    architectures: list[str] = Field(min_length=1, description="rows of the matrix: files in configs/models/")
    activations: list[str] = Field(min_length=1, description="columns of the matrix: files in gumbel/activations/")
    seeds: list[Seed] = Field([0], min_length=1, description="trainings per cell of the matrix")
    splits: list[str] = Field(
        ["val"], min_length=1, description="splits that are predicted and scored; claims are judged on the first one"
    )
    options: dict[str, dict[str, str]] = Field(
        {},
        description="options of an activation's loss, such as `variant` of gumbel: the paper's formula (`exact`), or "
        "the released code's (`released`)",
    )
    released_scoring: list[str] = Field(
        [], description="activations that are also scored as the released code does, with softmax; on the first split"
    )
    schedule: str = Field(
        default_factory=_of_recipe("schedule"), description="file in configs/schedules/ that trains a cell"
    )
    batch: int = Field(
        16, ge=1, description="images per step of the optimiser: images per GPU x GPUs x accumulated loads"
    )
    gpus: int = Field(1, ge=1, description="GPUs that train a cell; gradients of several loads accumulate to `batch`")
    oversample: float = Field(
        default_factory=_of_recipe("oversample"),
        ge=0,
        lt=1,
        description="repeat images with categories in less than this share of the images (RFS); 0: none",
    )
    training: Training = Training()
    cells: dict[str, CellTraining] = Field(
        {}, description="settings of a single cell (`ARCHITECTURE/ACTIVATION`) or architecture"
    )
    track: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        ["tensorboard"], description="where training curves are also written, by mmengine's backend of that name"
    )
    classifier: Classifier = Classifier()
    gol: Gol = Gol()
    widths: Widths = Widths()
    regions: Regions = Regions()
    warm_start: WarmStart | None = Field(
        None, description="train shared starting weights; null uses the recipe's ImageNet weights"
    )
    checkpoints: dict[str, str] = Field(
        {},
        description="weights trained elsewhere, a path or a URL, of cells named `architecture/activation/seed0`: "
        "they are converted and evaluated, not trained",
    )
    subset: Subset | None = Field(None, description="train on part of the images; null trains on all")
    head_only: HeadOnly = HeadOnly()
    snapshots: list[int] = Field(
        [],
        description="percentages of a training at which its weights are kept, to be scored on the first split too: "
        "AP over training",
    )
    grid: int = Field(16, ge=2, description="side of the normalised grid of the object distribution")
    allow_missing: bool = Field(
        False,
        description="make the summary and the report from what exists, without running anything else; "
        "missing and failed cells are shown as such",
    )

    @property
    def train_split(self) -> str:
        """The split that cells are trained on."""
        return "train" if self.subset is None else f"train_{self.subset.images_per_category}_per_category"

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        for key in ("architectures", "activations", "seeds", "splits", "track"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"`{key}` names the same entry twice: {values}; remove one")
        if self.snapshots != sorted(set(self.snapshots) & set(range(1, 100))):
            raise ValueError(
                f"`snapshots`: expected percentages from 1 to 99, each higher than the one before; found "
                f"{self.snapshots}; the end of the training is scored anyway"
            )
        for cell in product(self.architectures, self.activations):
            self.accumulation(self.training_of(*cell))
        return self

    def training_of(self, architecture: str, activation: str) -> Training:
        """``training`` with what ``cells`` says of the architecture, and then of the cell."""
        training = self.training
        for name in (architecture, f"{architecture}/{activation}"):
            if name in self.cells:
                training = training.model_copy(update=self.cells[name].model_dump(exclude_none=True))
        return training

    def accumulation(self, training: Training) -> int:
        """Loads of the GPUs whose gradients make one step of ``batch`` images.

        Raises:
            ValueError: ``batch`` is no whole number of loads.
        """
        loads, rest = divmod(self.batch, training.images_per_gpu * self.gpus)
        if rest or not loads:
            raise ValueError(
                f"`batch`: expected {self.batch} = images_per_gpu x gpus x a whole number of accumulated loads; found "
                f"images_per_gpu {training.images_per_gpu} x gpus {self.gpus}; change these, or say another `batch`"
            )
        return loads
