"""The progress and the results of an experiment: table, page and headline."""

from pathlib import Path

from gumbel.commands import Argument, command, experiment, file_to_write
from gumbel.experiment.schema import Experiment


@command(experiment(), file_to_write(required=True, help="table to write (Parquet)"))
def collect(experiment: Experiment, output: Path) -> None:
    """Collect all results of an experiment in one table.

    Example:
      python -m gumbel collect --experiment mini --output results/mini/summary.parquet
    """
    from gumbel.jobs.files import atomic_path
    from gumbel.report.summary.collect import collect

    table = collect(experiment)
    with atomic_path(output) as temporary:
        table.to_parquet(temporary, index=False)


@command(experiment(), file_to_write(required=True, help="copy of the page to write, with links that work from there"))
def report(experiment: Experiment, output: Path) -> None:
    """Judge the paper's claims and write the report.

    The page and its exports go to reports/EXPERIMENT, and reports/index.html lists it. Run `collect` first.

    Example:
      python -m gumbel report --experiment mini --output reports/summary.html
    """
    from gumbel.report.index import write_index
    from gumbel.report.page.render import render

    render(experiment, output)
    write_index()


@command(experiment())
def headline(experiment: Experiment) -> None:
    """Print the mask AP of every cell.

    Example:
      python -m gumbel headline --experiment mini
    """
    import pandas as pd

    from gumbel.paths import ExperimentPaths
    from gumbel.report.summary.collect import headline_table

    summary = ExperimentPaths(experiment.name).summary
    if not summary.exists():
        raise FileNotFoundError(f"expected {summary}, found nothing there; run `snakemake {summary}`")
    print(headline_table(pd.read_parquet(summary)))


@command(
    experiment(flag="first", words="the baseline: "),
    experiment(flag="second", words="what is compared with it: "),
    file_to_write(help="also write the differences (CSV)"),
)
def compare_experiments(first: Experiment, second: Experiment, output: Path | None) -> None:
    """Print what differs between two experiments: settings, and the AP of the cells that both have.

    Differences are second minus first: a positive one means that the second experiment scores higher. Both must be
    evaluated on the same images.

    Example:
      python -m gumbel compare-experiments lvis lvis_rfs
    """
    from gumbel.jobs.files import atomic_path
    from gumbel.report.experiments import as_text, compare_experiments

    compared = compare_experiments(first, second)
    if output:
        with atomic_path(output) as temporary:
            compared.differences.to_csv(temporary, index=False)
    print(as_text(compared, first, second))


@command(experiment(), file_to_write(help="also write the table (CSV)"))
def head_only_order(experiment: Experiment, output: Path | None) -> None:
    """Compare head-only training with full training.

    Example:
      python -m gumbel head-only-order --experiment mini
    """
    from gumbel.jobs.files import atomic_path
    from gumbel.report.head_only import as_text, figures

    table = figures(experiment)
    if output:
        with atomic_path(output) as temporary:
            table.to_csv(temporary, index=False)
    print(as_text(table, experiment))


@command(
    experiment(),
    Argument("--watch", action="store_true", help="refresh until everything is done, or Ctrl-C"),
    Argument("--html", action="store_true", help="write reports/EXPERIMENT/progress.html instead"),
)
def status(experiment: Experiment, watch: bool, html: bool) -> None:
    """Show the progress of every training.

    Example:
      python -m gumbel status --experiment mini --watch
    """
    from gumbel.monitor.page import write_page
    from gumbel.monitor.table import show

    if html:
        write_page(experiment)
    else:
        show(experiment, watch)
