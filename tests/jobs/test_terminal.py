"""Progress bars: on a terminal where a person waits, and nowhere else."""

import os
import pty
import subprocess
import sys
import termios
import textwrap
import threading
from pathlib import Path

import pytest

from gumbel.jobs.terminal import track
from gumbel.paths import REPOSITORY
from tests.evaluation import federated

AT_ONCE = "import gumbel.jobs.terminal as terminal; terminal.DELAY = 0\n"
END = b"<the end>"


def on_terminal(code: str, folder: Path) -> str:
    """What a program writes to stderr, which is a terminal."""
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    command = [sys.executable, "-c", AT_ONCE + textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writer, cwd=folder, env=environment)

    def mark_the_end() -> None:
        program.wait()
        os.write(writer, END)

    waiting = threading.Thread(target=mark_the_end)
    waiting.start()
    seen = b""
    while END not in seen:
        seen += os.read(reader, 4096)
    waiting.join()
    os.close(reader)
    os.close(writer)
    assert program.returncode == 0, seen
    return seen.decode()


def test_without_a_terminal_items_pass_and_nothing_is_shown(capfd):
    assert list(track([3, 1, 2], "counting")) == [3, 1, 2]
    assert capfd.readouterr() == ("", "")


def test_items_are_passed_on_one_by_one_as_they_are_asked_for():
    asked = []
    passed = track((asked.append(n) or n for n in range(3)), "counting")
    assert (next(passed), asked) == (0, [0])


def test_on_a_terminal_a_bar_counts_what_is_done(tmp_path):
    seen = on_terminal(
        """
        import time
        for size in terminal.track([10, 30, 60], "weighing", 100, lambda item: item): time.sleep(0.15)
        """,
        tmp_path,
    )
    assert "weighing:  10%" in seen
    assert "weighing:  40%" in seen
    assert "40/100" in seen


@pytest.mark.parametrize(
    ("command", "shown"),
    {
        "object-distribution truth.json": ["reading truth.json"],
        "evaluate --annotations truth.json --predictions predictions.parquet --output o.json --bootstrap b.npz": [
            "matching detections",
            "resampling images",
        ],
    }.items(),
    ids=["object-distribution", "evaluate"],
)
def test_stages_that_take_long_show_how_far_they_are(command, shown, tmp_path):
    federated.write(tmp_path, *federated.generate(0))
    seen = on_terminal(f"from gumbel.commands import main; main({command.split()!r})", tmp_path)
    for what in shown:
        assert what in seen
