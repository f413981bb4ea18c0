"""Many experiments that differ in a setting each."""

import subprocess
import sys

import yaml

from gumbel.commands import Argument, command
from gumbel.experiment import study as studies
from gumbel.experiment.study import Study


@command(
    Argument("study", read=studies.load, help="a YAML file, or a name in configs/studies"),
    Argument(
        "options", nargs="*", metavar="OPTION", help="after `--`: options of Snakemake's, the same for every level"
    ),
    Argument("--page", action="store_true", help="run nothing: only write the page of what is there"),
)
def study(study: Study, options: list[str], page: bool) -> None:
    """Run the levels of a study with Snakemake, one after the other, and write the study's page after each.

    A level that fails holds up no other; run the same command again to take up what is unfinished.

    Example:
      python -m gumbel study tail -- --profile slurm
      python -m gumbel study --page tail
    """
    from gumbel.jobs import signals
    from gumbel.jobs.files import atomic_path
    from gumbel.report.index import write_index
    from gumbel.report.study import write

    levels = list({level.file: level for level in studies.levels(study)}.values())
    unfinished = []
    signals.pass_on()
    with signals.heeded():
        for number, level in enumerate([] if page else levels, 1):
            name = level.experiment.name
            print(f"level {number} of {len(levels)}: {name}", flush=True)
            if level.record:
                with atomic_path(level.file) as temporary:
                    temporary.write_text(yaml.safe_dump(level.record, sort_keys=False))
            # Not `run`, which kills Snakemake at Ctrl-C; it ends by itself, once its trainings are saved
            ended = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *options, "--configfile", str(level.file)]
            ).wait()
            if received := signals.received():
                sys.exit(signals.exit_code(received))
            unfinished += [name] if ended else []
            write(study)
    print(write(study))
    write_index()
    if unfinished:
        raise ValueError(
            f"expected {len(levels)} levels to finish, found that Snakemake failed in {', '.join(unfinished)}; their "
            "logs are in results/LEVEL/logs and below. Run the same command again to go on"
        )
