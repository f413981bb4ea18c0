"""Classification losses of the registry as mmdet modules."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.losses import accuracy
from mmdet.registry import MODELS
from mmengine.dist import is_distributed
from torch import Tensor, nn

from gumbel import activations
from gumbel.detection.parts import box_heads
from gumbel.functional import reduce_loss


@MODELS.register_module()
class ActivationLoss(nn.Module):
    """The loss of an activation, with the whole hook contract of mmdet's box heads.

    Without the three ``custom_*`` flags mmdet scores every head with softmax at inference, whatever
    it was trained with (mmdetection issue 11038).

    Args:
        activation: name in :mod:`gumbel.activations`; it scores the head, and its loss trains it.
        loss_weight: factor of the loss.
        module: configuration of a module of mmdet that trains the head in the place of the activation's loss.
        **options: passed to the activation's loss, such as ``variant`` of Gumbel.

    Shapes: logits (N, C + 1), the last column being the background; labels (N,) in [0, C]; sample weights (N,).
    """

    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True

    def __init__(
        self, activation: str, loss_weight: float = 1.0, module: dict[str, Any] | None = None, **options: object
    ):
        super().__init__()
        self.activation = activations.get(activation)
        self.loss_weight = loss_weight
        self.module = None if module is None else MODELS.build(module)
        self.options = options
        if hasattr(self.module, "use_distributed"):  # what it has seen is added up over the processes
            setattr(self.module, "use_distributed", is_distributed())  # noqa: B010

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        label = label.long()  # modules of mmdet and the comparisons of DropLoss need it
        if self.module is not None:
            return self.loss_weight * self.module(cls_score, label, weight, avg_factor, reduction_override)
        return self.loss_weight * self.loss(cls_score, label, weight, avg_factor, reduction_override or "mean")

    def loss(
        self, logits: Tensor, label: Tensor, weight: Tensor | None, avg_factor: float | None, reduction: str
    ) -> Tensor:
        """The loss of the activation, reduced, before ``loss_weight``."""
        assert self.activation.loss is not None
        return self.activation.loss(logits, label, weight, reduction=reduction, avg_factor=avg_factor, **self.options)

    def get_cls_channels(self, num_classes: int) -> int:
        """Outputs of the classification layer."""
        return self.activation.outputs(num_classes)

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1) in [0, 1] of logits (N, C + 1)."""
        return self.activation.scores(cls_score)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of RoIs, in percent, whose largest logit is their label's."""
        return {"acc": accuracy(cls_score, labels)}

    def extra_repr(self) -> str:
        scoring = self.activation.name if self.custom_activation else activations.mmdet_default()
        return f"activation={self.activation.name}, scoring={scoring}, options={self.options}"


@MODELS.register_module()
class DropLoss(ActivationLoss):
    """The loss of an activation that spares infrequent categories most of what discourages them.

    A category's score is pushed down by every RoI that shows something else. Of these pushes an infrequent category
    keeps none from RoIs that show another category, and from background RoIs a random part: as large as the share of
    infrequent categories among the RoIs that show any. Hsieh et al., "DropLoss for Long-Tail Instance Segmentation",
    AAAI 2021, https://arxiv.org/abs/2104.06402, with the activation of Alexandridis et al., ECCV 2022.

    Args:
        num_classes: C.
        infrequent: their labels.
        **others: as :class:`ActivationLoss`.

    Shapes: logits (N, C), no background output; labels (N,) in [0, C], C the background; sample weights (N,).
    """

    def __init__(self, num_classes: int, infrequent: Sequence[int], **others: Any):
        super().__init__(**others)
        self.num_classes = num_classes
        mask = torch.zeros(num_classes, dtype=torch.bool)
        mask[list(infrequent)] = True
        self.infrequent: Tensor
        self.register_buffer("infrequent", mask, persistent=False)

    def loss(
        self, logits: Tensor, label: Tensor, weight: Tensor | None, avg_factor: float | None, reduction: str
    ) -> Tensor:
        losses = super().loss(logits, label, self.kept(label), None, "none")
        return reduce_loss(losses if weight is None else losses * weight, reduction, avg_factor)

    def kept(self, label: Tensor) -> Tensor:
        """Which elements of the loss count, 1 or 0: labels (N,) to (N, C)."""
        background = label == self.num_classes
        # Without an object the share is NaN, which nothing exceeds: all is kept, as in the released code
        share = self.infrequent[label[~background]].float().mean()
        drawn = torch.rand(len(label), self.num_classes, device=label.device) > share
        dropped = self.infrequent & (drawn | ~background[:, None])
        own = label[:, None] == torch.arange(self.num_classes, device=label.device)
        return (~dropped | own).float()

    def get_cls_channels(self, num_classes: int) -> int:
        """One output a class, and none for the background."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1) in [0, 1] of logits (N, C); the background, which mmdet expects last, gets 0."""
        return torch.nn.functional.pad(super().get_activation(cls_score), (0, 1))

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Share of the RoIs that show a category, in percent, whose largest logit is their label's."""
        shown = labels < self.num_classes
        return super().get_accuracy(cls_score[shown], labels[shown])

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, infrequent={int(self.infrequent.sum())}"


def set_scoring(model: nn.Module, scoring: str) -> None:
    """Score every classification head of ``model`` as trained (``matched``), or as mmdet does where the loss does not
    say otherwise (``released``)."""
    for module in model.modules():
        if isinstance(module, ActivationLoss):
            module.custom_cls_channels = module.custom_activation = scoring == "matched"


def classification_losses(model: Any) -> list[nn.Module]:
    """The classification loss of each box head: one, or one a stage."""
    return [head.get_submodule("loss_cls") for head in box_heads(model)]
