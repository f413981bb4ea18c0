"""The registry of activations: what turns classification logits into scores, and what trains it.

Every module of this package whose name has no leading underscore is an activation of that name and
defines ``ACTIVATION``. Adding one is adding a file: docs/how-to/add-an-activation.md.

>>> import torch
>>> names()
('gumbel', 'mirrored_gumbel', 'parametric', 'sigmoid', 'softmax')
>>> get("gumbel").scores(torch.tensor([0.0]))
tensor([0.3679])
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An activation of a classification layer with C outputs.

    Attributes:
        name: the name of its module.
        source: where it comes from, in one line.
        loss: ``loss(logits, target, weight=None, *, reduction="mean", avg_factor=None,
            ignore_index=None)`` of logits (N, C) and class indices (N,), reduced as
            :func:`gumbel.functional.reduce_loss` does. Each sample costs the sum over its classes.
        scores: logits (..., C) to scores in [0, 1], same shape.
        log_scores: logits (..., C) to logarithms of the scores, finite for every finite logit.
        bias: ``bias(prior, outputs)``, the bias with which a layer of ``outputs`` zero logits gives
            each class the score ``prior``.
    """

    name: str
    source: str
    loss: Callable[..., Tensor]
    scores: Callable[[Tensor], Tensor]
    log_scores: Callable[[Tensor], Tensor]
    bias: Callable[[float, int], float]


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
