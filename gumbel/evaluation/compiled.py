"""Machine code of loops that NumPy would need many passes for."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile ``function`` when it is first called; other threads run meanwhile, and 1 / 0 is infinite as in NumPy.

    The code is kept for later processes of the same user on the same machine, where there is a place for it. A folder
    that machines share would hand code for one kind of processor to another.
    """
    options: dict[str, Any] = dict(nogil=True, error_model="numpy")
    settings: Any = numba.config
    before = settings.CACHE_DIR
    try:
        settings.CACHE_DIR = before or _private_folder()
        return numba.njit(function, cache=True, **options)
    except RuntimeError:  # no place that can be written
        return numba.njit(function, **options)
    finally:
        settings.CACHE_DIR = before


def _private_folder() -> str:
    """A folder for temporary files that this user alone can write, or nothing: numba would run code that lies there."""
    folder = Path(tempfile.gettempdir()) / f"gumbel-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return ""
    status = folder.lstat()
    return str(folder) if status.st_uid == os.getuid() and not status.st_mode & 0o022 else ""
