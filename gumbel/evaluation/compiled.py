"""Machine code of loops that NumPy would need many passes for.

The code is compiled when a function is first called, and kept beside its module, for each kind of processor; where that
cannot be written, in the user's cache folder. numba looks whether the module changed, not what it imports: so a
compiled function calls only those of its own module.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile ``function`` when it is first called; other threads run meanwhile, and 1 / 0 is infinite as in NumPy."""
    options: dict[str, Any] = dict(nogil=True, error_model="numpy")
    try:
        made: Any = numba.njit(function, cache=True, **options)
    except RuntimeError:  # no place that can be written
        made = numba.njit(function, **options)
    return made
