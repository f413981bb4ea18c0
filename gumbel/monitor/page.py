"""Progress as a page that a running workflow keeps."""

import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime

from gumbel import html
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.monitor import progress
from gumbel.paths import ExperimentPaths


def write_page(experiment: Experiment, refresh: float | None = None) -> None:
    """Write the page; with ``refresh`` a browser loads it again after so many seconds."""
    found, paths = progress.lines(experiment), ExperimentPaths(experiment.name)
    environment = html.environment()
    environment.filters["last_lines"] = progress.last_lines
    text = environment.get_template("progress.html.j2").render(
        experiment=experiment,
        lines=found,
        failures=progress.failures(experiment, found),
        stale=progress.STALE_SECONDS,
        counts=Counter(sorted((line.state for line in found), key=progress.STATES.index)),
        report=paths.report.name if paths.report.exists() else None,
        hours=progress.hours(found),
        written=datetime.now(UTC),
        refresh=refresh,
        **html.assets("progress.js"),
    )
    with atomic_path(paths.progress) as temporary:
        temporary.write_text(text)


class PageKeeper(threading.Thread):
    """Writes the page while a workflow runs, from a thread beside it: jobs have no part in it.

    Args:
        interval: seconds between two pages; longer where a page takes more than a tenth of it to write.
    """

    def __init__(self, experiment: Experiment, interval: float = 30.0):
        super().__init__(daemon=True)
        self.experiment = experiment
        self.interval = interval
        self._ended = threading.Event()

    def stop(self) -> None:
        """Write the page a last time: it asks for no refresh any more."""
        self._ended.set()
        if self.is_alive():
            self.join()
        self._write(None)

    def run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            clock = time.monotonic()
            self._write(max(self.interval, pause))
            pause = max(self.interval, 10 * (time.monotonic() - clock))

    def _write(self, refresh: float | None) -> None:
        """A page that cannot be written is worth a line, never a workflow."""
        try:
            write_page(self.experiment, refresh=refresh)
        except Exception as error:
            page = ExperimentPaths(self.experiment.name).progress
            print(f"{page} was not written: {type(error).__name__}: {error}", file=sys.stderr)
