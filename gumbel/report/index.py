"""The index of all reports in a folder: a row for each experiment, and links to the studies."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gumbel import html
from gumbel.jobs.files import atomic_path
from gumbel.paths import INDEX, ExperimentPaths, StudyPaths


@dataclass(frozen=True)
class Row:
    """An experiment that has a report. ``finished`` is the last training's end, empty where none has one."""

    name: str
    description: str
    link: str
    verdicts: dict[str, int]
    done: int
    cells: int
    finished: str


def write_index() -> None:
    """Write ``reports/index.html`` from the exports of every report that is there."""
    template = html.environment().get_template("index.html.j2")
    studies = {study.name: _link(study.report) for study in StudyPaths.with_report()}
    page = template.render(rows=list(rows()), studies=studies, style=html.style())
    with atomic_path(INDEX) as temporary:
        temporary.write_text(page)


def rows() -> Iterator[Row]:
    """The experiments with a report, the last one first; a damaged export is left out."""
    found = []
    for path in INDEX.parent.glob("*/exports/results.json"):
        try:
            found.append(_row(json.loads(path.read_text())))
        except (OSError, ValueError, KeyError):
            continue
    yield from sorted(found, key=lambda row: (row.finished, row.name), reverse=True)


def _row(record: dict[str, Any]) -> Row:
    experiment, cells = record["experiment"], record["cells"]
    name = experiment["name"]
    return Row(
        name,
        experiment["description"],
        _link(ExperimentPaths(name).report),
        record["verdicts"],
        Counter(cell["state"] for cell in cells)["done"],
        len(cells),
        max((cell["manifest"].get("finished", "") for cell in cells), default="")[:10],
    )


def _link(page: Path) -> str:
    return page.relative_to(INDEX.parent).as_posix()
