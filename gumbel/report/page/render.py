"""The report: one self-contained page, rendered from the files that the stages before it wrote."""

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pandas as pd
from altair.utils.schemapi import debug_mode

from gumbel import html
from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.jobs.files import atomic_path
from gumbel.paths import REPORT, ExperimentPaths
from gumbel.report.exports import write as exports
from gumbel.report.page import content
from gumbel.report.page.results import Results
from gumbel.report.page.sections import rerun
from gumbel.report.page.sections.answer import METRICS


def render(experiment: Experiment, output: Path) -> None:
    """Write the experiment's page and its exports beside it, and the page once more to ``output``.

    Its links to the exports and to the pages of other experiments that are there lead from where each copy lies.

    Raises FileNotFoundError where the experiment has no summary yet.
    """
    paths = ExperimentPaths(experiment.name)
    if not paths.summary.exists():
        raise FileNotFoundError(
            f"expected the summary {paths.summary}, found none: run `python -m gumbel collect` for experiment "
            f"{experiment.name}"
        )
    results = Results(experiment, pd.read_parquet(paths.summary))
    with debug_mode(False):  # Altair's checks of every mark take half of the time; the figures' tests run with them
        sections = content.make(results)
    texts, drawings = exports.texts(results, sections), exports.named_figures(sections)
    context = {
        "results": results,
        "experiment": experiment,
        "sources": results.sources,
        "sections": [*sections, rerun.Rerun(results, texts, drawings)],
        "answer": sections.answer,
        "metrics": METRICS,
        "pictured": sections.pictures.pictured,
        "states": Counter(run.state for run in results.runs),
        "seconds": sections.provenance.seconds,
        "progress": paths.progress if paths.progress.exists() else None,
        "notice": matrix.data(experiment).notice,
        **html.assets("page.js"),
    }
    template = html.environment().get_template("summary.html.j2")
    others = {path.parent.name: path for path in sorted(REPORT.parent.glob(f"*/{REPORT.name}")) if path != paths.report}
    for page in dict.fromkeys((paths.report, output)):
        links = {name: _link(other, page) for name, other in others.items()}
        with atomic_path(page) as temporary:
            link = partial(_link, page=page)
            temporary.write_text(template.render(context, link=link, exports=link(paths.exports), others=links))
    exports.write(paths.exports, texts, drawings, results)


def _link(file: Path, page: Path) -> str:
    """The way from a page to a file."""
    return Path(os.path.relpath(file, page.parent)).as_posix()
