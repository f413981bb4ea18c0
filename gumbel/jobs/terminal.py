"""Lines and progress bars for whoever watches a job."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import suppress
from typing import TypeVar

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
    from tqdm import tqdm

    total = len(items) if total is None and isinstance(items, Sized) else total
    # It goes when the work is done; `None` is tqdm's word for "on a terminal only"
    with tqdm(total=total, desc=f"  {what}", disable=None, delay=DELAY, leave=False) as bar:
        for item in items:
            yield item
            bar.update(size(item))
