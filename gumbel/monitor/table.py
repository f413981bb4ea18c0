"""Progress on a terminal."""

import sys
import time
from contextlib import suppress

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gumbel.experiment.schema import Experiment
from gumbel.monitor import progress
from gumbel.monitor.progress import Line
from gumbel.words import activation_name, architecture_name, duration

STYLES = {
    "running": "cyan", "evaluating": "cyan", "done": "green", "failed": "bold red",
    "stalled?": "yellow", "interrupted": "yellow", "queued": "", "waiting": "dim",
}  # fmt: skip


def show(experiment: Experiment, watch: bool = False, interval: float = 2.0) -> None:
    """Print how far ``experiment`` is; with ``watch`` again and again, until all is done or Ctrl-C."""
    console = Console(highlight=False, markup=False)
    if watch:
        with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
            while True:
                found = progress.lines(experiment)
                live.update(_screen(experiment, found, console.height), refresh=True)
                if all(line.state == "done" for line in found):
                    return
                time.sleep(interval)
        return
    found = progress.lines(experiment)
    # In a pipe nothing is cut to the width of a terminal
    cut = sys.stdout.isatty()
    console.print(_screen(experiment, found), soft_wrap=not cut, no_wrap=True, overflow="ellipsis" if cut else "ignore")
    if failed := progress.failures(experiment, found):
        console.print(Text(f"\n{progress.quoted(failed)}"), soft_wrap=True)


def _screen(experiment: Experiment, found: list[Line], height: int | None = None) -> Text:
    """A line a training below the headline; of those that ``height`` has no room for, the liveliest."""
    heads = ("model", "activation", "seed", "state", "spent", "left")
    rows = {line: _columns(line) for line in found}
    widths = [max(map(len, column)) for column in zip(heads, *rows.values(), strict=True)]
    shown = found
    if height is not None and len(found) > height - 5:
        shown = sorted(found, key=lambda line: progress.STATES.index(line.state))[: max(1, height - 5)]
    states, hours = progress.headline(experiment, found), progress.hours(found)
    # Times to the right
    row = "  ".join(f"{{:{'<' if column < 4 else '>'}{width}}}" for column, width in enumerate(widths)).format
    lines = [Text(states), Text(f"{hours}\n"), Text(row(*heads), style="dim")]
    for line in shown:
        text = Text(f"{row(*rows[line])}  {line.detail}")
        text.highlight_words([line.state], STYLES[line.state])
        lines.append(text)
    if len(shown) < len(found):
        lines.append(Text(f"and {len(found) - len(shown)} more", style="dim"))
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _columns(line: Line) -> tuple[str, ...]:
    return (
        architecture_name(line.architecture),
        activation_name(line.activation) if line.activation else "warm start",
        "" if line.seed is None else str(line.seed),
        line.state,
        duration(line.seconds) if line.seconds else "",
        "" if line.left == 0 else duration(line.left),
    )
