"""Put the results of the study into its page: ``python -m docs.study`` copies the last exports to ``docs/``."""

import re
import shutil
from pathlib import Path

from gumbel.jobs.files import atomic_path
from gumbel.paths import REPOSITORY, StudyPaths

HEADING = "\n## Results\n"
EXPORTS = StudyPaths("tail").exports


def write(docs: Path = REPOSITORY / "docs", exports: Path = EXPORTS) -> None:
    """Replace what follows the last heading of ``study.md`` by the Markdown of ``exports``, its figures beside it."""
    page = docs / "study.md"
    results = re.sub(r"\]\((\w+\.svg)\)", r"](study_\1)", (exports / "results.md").read_text())
    for figure in exports.glob("*.svg"):
        shutil.copy2(figure, docs / f"study_{figure.name}")
    text = page.read_text().partition(HEADING)[0] + f"{HEADING}\n{results}"
    with atomic_path(page) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    write()
