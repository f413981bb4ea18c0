"""Progress as a page that a running workflow keeps."""

import base64
import hashlib
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import jinja2
from markupsafe import Markup

from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.monitor import progress
from gumbel.paths import PROGRESS, TEMPLATES
from gumbel.words import activation_name, architecture_name, duration


def write_page(experiment: Experiment, output: Path = PROGRESS, refresh: float | None = None) -> None:
    """Write the page; with ``refresh`` a browser loads it again after so many seconds."""
    found = progress.lines(experiment)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"duration": duration, "last_lines": progress.last_lines}
    environment.globals |= {"activation_name": activation_name, "architecture_name": architecture_name}
    script = (TEMPLATES / "progress.js").read_text()
    context = {
        "experiment": experiment,
        "lines": found,
        "failures": progress.failures(experiment, found),
        "stale": progress.STALE_SECONDS,
        "counts": dict(progress.counts(found)),
        "cells": sum(line.activation is not None for line in found),
        "hours": progress.hours(found),
        "written": datetime.now(UTC),
        "refresh": refresh,
        "style": Markup((TEMPLATES / "style.css").read_text()),
        "script": Markup(script),
        "script_hash": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    with atomic_path(output) as temporary:
        temporary.write_text(environment.get_template("progress.html.j2").render(context))


class PageKeeper:
    """Writes the page while a workflow runs, from a thread beside it: jobs have no part in it.

    Args:
        interval: seconds between two pages; longer where a page takes more than a tenth of it to write.
    """

    def __init__(self, experiment: Experiment, interval: float = 30.0):
        self.experiment = experiment
        self.interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the page a last time: it asks for no refresh any more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write(None)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            clock = time.monotonic()
            self._write(max(self.interval, pause))
            pause = max(self.interval, 10 * (time.monotonic() - clock))

    def _write(self, refresh: float | None) -> None:
        """A page that cannot be written is worth a line, never a workflow."""
        try:
            write_page(self.experiment, refresh=refresh)
        except Exception as error:
            print(f"{PROGRESS} was not written: {type(error).__name__}: {error}", file=sys.stderr)
