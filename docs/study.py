"""Put the results of the study into its page: ``python -m docs.study`` adds the last exports to those in ``docs/``.

``study_means.csv`` and ``study_differences.csv`` keep what was found, so that levels can be run at different times and
on different machines. A level that was run again replaces its rows.
"""

import re
from pathlib import Path

import pandas as pd

from gumbel.experiment.study import load
from gumbel.jobs.files import atomic_path
from gumbel.paths import REPOSITORY, StudyPaths
from gumbel.report.study import by_factor, finding, markdown

HEADING = "\n## Results\n"
STUDY = "tail"
EXPORTS = StudyPaths(STUDY).exports


def write(docs: Path = REPOSITORY / "docs", exports: Path = EXPORTS) -> None:
    """Add ``exports`` to the tables in ``docs``, draw their figures, and put both below the page's last heading."""
    means, differences = (
        _kept(docs / f"study_{name}.csv", exports / f"{name}.csv") for name in ("means", "differences")
    )
    study = load(STUDY)
    parts = by_factor(study, means, differences)
    for name, figure in (item for part in parts for item in part.figures.items()):
        (docs / f"study_{name}").write_text(figure.drawing)
    results = re.sub(r"\]\((\w+\.svg)\)", r"](study_\1)", markdown(parts, finding(study, differences), {}))
    page = docs / "study.md"
    text = page.read_text().partition(HEADING)[0] + f"{HEADING}\n{results}"
    with atomic_path(page) as temporary:
        temporary.write_text(text)


def _kept(kept: Path, found: Path) -> pd.DataFrame:
    """The rows of ``kept``, replaced by those of ``found`` where an experiment is in both."""
    tables = [pd.read_csv(path) for path in (kept, found) if path.exists()]
    names = set(tables[-1]["experiment"])
    both = pd.concat(
        [*(table[~table["experiment"].isin(names)] for table in tables[:-1]), tables[-1]], ignore_index=True
    )
    both.to_csv(kept, index=False)
    return both


if __name__ == "__main__":
    write()
