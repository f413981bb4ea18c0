"""How far an experiment is."""

from gumbel.commands.command import Argument, command, experiment
from gumbel.experiment.schema import Experiment


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
