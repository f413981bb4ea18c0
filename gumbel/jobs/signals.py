"""Signals that ask a job to stop: remembered, so that it stops where nothing is lost, and passed on."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import FrameType

import psutil

#: What SLURM sends at scancel, preemption and before a time limit, and what Ctrl-C sends.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
#: The one of them that warns of the end of an allocation.
TIME_LIMIT = signal.SIGUSR1

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


def pass_on() -> None:
    """From now on, send every SIGUSR1 and SIGTERM that this process gets to all its descendants, once each.

    With control groups SLURM signals the processes that it started itself and none of their children. Whatever else
    handles the signals here, or will, goes on doing so: Python tells a pipe of each signal before its handler runs.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    Thread(target=_pass_on, args=(reader,), daemon=True, name="pass signals on").start()


def _pass_on(reader: int) -> None:
    waiting = {signal.SIGUSR1, signal.SIGTERM}
    while waiting:
        for number in waiting & set(os.read(reader, 64)):
            waiting.remove(number)
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


def _receive(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is not None and number == signal.SIGINT:
        raise KeyboardInterrupt
    _received = signal.Signals(number)
