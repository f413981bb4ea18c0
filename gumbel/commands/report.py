"""The figures of an experiment together: table, page, and headline."""

from pathlib import Path

from gumbel.commands.command import command, experiment, file_to_write
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
