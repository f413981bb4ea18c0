"""Signals that ask a job to stop: remembered, so that it stops where nothing is lost."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What SLURM sends at scancel, preemption and before a time limit, and what Ctrl-C sends.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

_received: signal.Signals | None = None


@contextmanager
def heeded() -> Iterator[None]:
    """Remember the signals of :data:`SIGNALS` within the block instead of ending at once.

    A second Ctrl-C is not remembered: it raises KeyboardInterrupt.
    """
    global _received
    _received = None
    previous = {each: signal.signal(each, _receive) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def received() -> signal.Signals | None:
    """The last signal that arrived, or None."""
    return _received


def exit_code(received: int) -> int:
    """128 + the signal's number, as shells report it: 143 for SIGTERM, 138 for SIGUSR1, 130 for SIGINT."""
    return 128 + received


def _receive(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is not None and number == signal.SIGINT:
        raise KeyboardInterrupt
    _received = signal.Signals(number)
