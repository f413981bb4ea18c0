"""How far an experiment is, and its figures together: table, page, and headline."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_write
from gumbel.experiment.schema import Experiment


@command(experiment(), file_to_write(required=True))
def collect(experiment: Experiment, output: Path) -> None:
    """Gather every figure of an experiment in one table."""
    from gumbel.jobs.files import atomic_path
    from gumbel.report.summary.collect import collect

    table = collect(experiment)
    with atomic_path(output) as temporary:
        table.to_parquet(temporary, index=False)


@command(experiment(), file_to_write(required=True))
def report(experiment: Experiment, output: Path) -> None:
    """Decide the claims and render the page."""
    from gumbel.report.page.render import render

    render(experiment, output)


@command(experiment())
def headline(experiment: Experiment) -> None:
    """Print the table of the finished cells."""
    import pandas as pd

    from gumbel.paths import ExperimentPaths
    from gumbel.report.summary.collect import headline_table

    summary = ExperimentPaths(experiment.name).summary
    if not summary.exists():
        raise FileNotFoundError(f"expected {summary}, found nothing there; run `snakemake {summary}`")
    print(headline_table(pd.read_parquet(summary)))


@command(experiment(), file_to_write(help="also write the figures (CSV)"))
def head_only_order(experiment: Experiment, output: Path | None) -> None:
    """Print the figures of head-only beside those of full training."""
    from gumbel.jobs.files import atomic_path
    from gumbel.report.head_only import as_text, figures

    table = figures(experiment)
    if output:
        with atomic_path(output) as temporary:
            table.to_csv(temporary, index=False)
    print(as_text(table, experiment))


@command(
    experiment(),
    Argument("--watch", action="store_true", help="show it again and again, until all is done or Ctrl-C"),
    Argument("--html", action="store_true", help="write reports/EXPERIMENT/progress.html instead"),
)
def status(experiment: Experiment, watch: bool, html: bool) -> None:
    """Show how far every training of an experiment is."""
    from gumbel.monitor.page import write_page
    from gumbel.monitor.table import show

    if html:
        write_page(experiment)
    else:
        show(experiment, watch)
