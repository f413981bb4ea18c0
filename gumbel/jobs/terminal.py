"""Lines for whoever watches a job."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print ``line`` to stderr at once; that nobody reads it any more stops no training."""
    with suppress(OSError):  # BrokenPipeError: the reader was ended before this process
        print(f"  {line}", file=sys.stderr, flush=True)
