"""The Gumbel activation for classification layers: ``import gumbel`` needs torch alone."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gumbel.functional import (
        GumbelCrossEntropyLoss,
        gumbel_activation,
        gumbel_cross_entropy,
        gumbel_log_activation,
    )

__all__ = ["GumbelCrossEntropyLoss", "gumbel_activation", "gumbel_cross_entropy", "gumbel_log_activation"]


def __getattr__(name: str) -> Any:
    """Load torch with the first of these names: the many processes of a workflow need none of them."""
    if name not in __all__:
        raise AttributeError(f"module 'gumbel' has no attribute {name!r}")
    from gumbel import functional

    return getattr(functional, name)
