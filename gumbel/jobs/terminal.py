"""Lines and progress bars for whoever watches a job."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")

#: Seconds of work before a bar appears.
DELAY = 2.0


def say(line: str) -> None:
    """Print ``line`` to stderr at once; that nobody reads it any more stops no training."""
    with suppress(OSError):  # BrokenPipeError: the reader was ended before this process
        print(f"  {line}", file=sys.stderr, flush=True)


def track(
    items: Iterable[Item], what: str, total: int | None = None, size: Callable[[Item], int] = lambda _: 1
) -> Iterator[Item]:
    """Pass ``items`` on, with a progress bar on stderr if that is a terminal.

    ``total`` is the sum of the items' ``size``; without it, their number if they have one.
    """
    total = len(items) if total is None and isinstance(items, Sized) else total
    with _tqdm()(total=total, **_settings(what)) as bar:
        for item in items:
            yield item
            bar.update(size(item))


@contextmanager
def track_reading(path: Path, opener: Callable[..., Any] = open, encoding: str = "utf-8") -> Iterator[TextIO]:
    """A text file, with a progress bar on stderr while it is read, if that is a terminal."""
    size = path.stat().st_size if opener is open else None
    with (
        opener(path, "rt", encoding=encoding) as file,
        _tqdm().wrapattr(file, "read", total=size, **_settings(f"reading {path.name}")) as watched,
    ):
        yield watched


def _tqdm() -> Any:
    from tqdm import tqdm

    return tqdm


def _settings(what: str) -> dict[str, Any]:
    """A bar that goes when the work is done; ``disable=None`` is tqdm's word for "on a terminal only"."""
    return {"desc": f"  {what}", "disable": None, "delay": DELAY, "leave": False}
