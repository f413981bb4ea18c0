"""The registry of activations: what turns classification logits into scores, and what trains it.

Every module of this package whose name has no leading underscore is an activation of that name and
defines ``ACTIVATION``. Adding one is adding a file: docs/how-to/add-an-activation.md.

>>> import torch
>>> names()
('eqlv2', 'gumbel', 'mirrored_gumbel', 'parametric', 'seesaw', 'sigmoid', 'softmax')
>>> get("gumbel").scores(torch.tensor([0.0]))
tensor([0.3679])
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gumbel.literals import keywords

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An activation of a classification layer for C categories and the background.

    Attributes:
        name: the name of its module.
        label: the name that readers see.
        source: where it comes from, in one line.
        scores: logits (..., K) to scores in [0, 1], (..., C + 1); of the same shape where K is C + 1.
        log_scores: logits (..., K) to logarithms of the scores, finite for every finite logit.
        bias: ``bias(prior, outputs)``, the bias with which a layer of ``outputs`` zero logits gives
            each class the score ``prior``.
        loss: ``loss(logits, target, weight=None, *, reduction="mean", avg_factor=None, ignore_index=None)`` of logits
            (N, K) and class indices (N,), reduced as :func:`gumbel.functional.reduce_loss` does. Each sample costs the
            sum over its classes. None where a module of mmdet trains it, which may keep a state.
        competing: whether a class's score falls when another class's logit rises.
        outputs: K, the outputs that the classification layer has for C categories.
        options: what an experiment may set of the loss: each option with its values, the default first.
        note: what the page says of the losses that other options give.
        mmdet: ``mmdet(classes, options)``, how mmdet configures the loss of a box head for C categories.
            None: :class:`gumbel.detection.losses.ActivationLoss` with ``loss``.
        mmdet_default: whether mmdet scores with it every head whose loss does not say otherwise.
        cost_at_start: ``cost_at_start(logit, outputs)``, the loss of an object where all logits are equal, in closed
            form. None: that of a binary problem for each output, or of classes that compete.
    """

    name: str
    label: str
    source: str
    scores: Callable[[Tensor], Tensor]
    log_scores: Callable[[Tensor], Tensor]
    bias: Callable[[float, int], float]
    loss: Callable[..., Tensor] | None = None
    competing: bool = False
    outputs: Callable[[int], int] = lambda classes: classes + 1
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    note: str = ""
    mmdet: Callable[[int, Mapping[str, str]], dict[str, Any]] | None = None
    mmdet_default: bool = False
    cost_at_start: Callable[[float, int], float] | None = None

    def loss_config(self, classes: int, options: Mapping[str, str]) -> dict[str, Any]:
        """mmdet's configuration of the loss of a box head for ``classes`` categories."""
        chosen = {name: values[0] for name, values in self.options.items()} | dict(options)
        if self.mmdet is not None:
            return self.mmdet(classes, chosen)
        return dict(type="ActivationLoss", activation=self.name, loss_weight=1.0, **chosen)

    def start(self, logit: float, outputs: int) -> float:
        """The loss of an object where all ``outputs`` logits are ``logit``."""
        if self.cost_at_start is not None:
            return self.cost_at_start(logit, outputs)
        if self.competing:
            return math.log(outputs)
        import torch

        log_score = self.log_scores(torch.tensor([logit], dtype=torch.float64)).item()
        return -log_score - (outputs - 1) * math.log1p(-math.exp(log_score))


def names() -> tuple[str, ...]:
    """Names of the registered activations, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")))


def get(name: str) -> Activation:
    """The activation called ``name``.

    Raises:
        ValueError: no activation has that name.
    """
    if name not in names():
        raise ValueError(
            f"expected an activation among {', '.join(names())}, found {name!r}: "
            f"correct the name, or add gumbel/activations/{name}.py"
        )
    return import_module(f"{__name__}.{name}").ACTIVATION


@cache
def said(name: str) -> dict[str, Any]:
    """What the activation called ``name`` says in literals, such as its label and options; torch is not loaded.

    >>> said("gumbel")["options"]
    {'variant': ('exact', 'released')}
    """
    return keywords(next(file for folder in __path__ if (file := Path(folder) / f"{name}.py").exists()), "ACTIVATION")


def mmdet_default() -> str:
    """Name of the activation that mmdet scores with where a loss does not say otherwise."""
    return next(name for name in names() if said(name).get("mmdet_default"))
