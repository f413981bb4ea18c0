"""``python -m gumbel``: one subcommand a stage, such as data, configs, train, predict, evaluate, collect, report.

The modules of this package define them, and are found by looking. A stage reads the files of the stage before it and
writes its own; Snakemake only calls them in the right order. Heavy packages are imported by the stage that needs them.
"""

import argparse
import pkgutil
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gumbel.commands.command import COMMANDS, Command
from gumbel.jobs import manifest
from gumbel.paths import job_manifest


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; a mistake ends with the line ``gumbel STAGE: message`` and status 1."""
    given = vars(parser().parse_args(arguments))
    stage = given["stage"]
    try:
        _run(COMMANDS[stage], given)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        sys.exit(f"gumbel {stage}: {_message(error)}")
    except Exception as error:
        # Unforeseen: all of it for who mends it, and the line by which `status` knows a failed job's log
        traceback.print_exc()
        sys.exit(f"gumbel {stage}: {type(error).__name__}: {error}")


def commands() -> dict[str, Command]:
    """Every subcommand, sorted by name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(COMMANDS.items()))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gumbel", description=__doc__.partition("\n")[0])
    subparsers = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, command in commands().items():
        subparser = subparsers.add_parser(name, help=command.summary, description=command.summary)
        for argument in command.arguments:
            subparser.add_argument(*argument.flags, **argument.settings)
    return parser


def _run(command: Command, given: Mapping[str, Any]) -> None:
    """Run a subcommand, then say beside its ``output`` from which files, when and where it was made."""
    output: Path | list[Path] | None = given.get("output")
    record = manifest.Record() if output else None
    command.run(**{each.name: each.read(given[each.name]) for each in command.arguments})
    if output and record:
        read = (given[each.name] for each in command.arguments if not each.writes)
        inputs = manifest.sha256s(path for path in read if isinstance(path, Path) and path.is_file())
        for path in output if isinstance(output, list) else [output]:
            record.write(job_manifest(path), inputs=inputs)


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return (
            f"expected to use {error.filename}, found: {error.strerror}; "
            "correct the path, or run the stage that writes the file (docs/outputs.md)"
        )
    return str(error)
