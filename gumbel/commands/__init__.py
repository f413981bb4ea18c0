"""``python -m gumbel``: one subcommand a stage, such as data, configs, train, predict, evaluate, collect, report.

The modules of this package define them, and are found by looking. A stage reads the files of the stage before it and
writes its own; Snakemake only calls them in the right order. Heavy packages are imported by the stage that needs them.
The docstring of a stage's function is its help, with an example that runs.
"""

import argparse
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gumbel.experiment import inheritance, matrix
from gumbel.experiment.schema import Source
from gumbel.jobs import manifest
from gumbel.paths import job_manifest

ABOUT = """Run one stage of the benchmark, or inspect an experiment. Each stage reads the files of the stage before it.

Examples:
  python -m gumbel status --experiment mini
  python -m gumbel evaluate --help
"""


class Argument:
    """An argument as argparse declares it.

    Args:
        flags: its name, or option strings.
        read: makes of the given value what the function is called with; its errors are mistakes of the user's.
        writes: it names a file to write.
        settings: further settings of argparse.
    """

    def __init__(
        self, *flags: str, read: Callable[[Any], Any] = lambda given: given, writes: bool = False, **settings: Any
    ) -> None:
        self.flags, self.settings = flags, settings
        self.read, self.writes = read, writes

    @property
    def name(self) -> str:
        """The function's name for it."""
        return self.flags[0].lstrip("-").replace("-", "_")

    @property
    def help(self) -> str:
        """What readers are told: its own words, and the default unless these say it."""
        words, default = self.settings["help"], self.settings.get("default")
        if "default" in words or default is None or isinstance(default, bool):
            return words
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        return f"{words} (default: {shown})"


@dataclass(frozen=True)
class Command:
    """A subcommand; the docstring of its function is its help."""

    run: Callable[..., None]
    arguments: tuple[Argument, ...]

    @property
    def summary(self) -> str:
        """The first line, which says what it does."""
        return self.description.partition("\n")[0]

    @property
    def description(self) -> str:
        """All of it: what it does, what a reader has to know, and an example."""
        return inspect.cleandoc(str(self.run.__doc__))


#: What completes the name of a file in each shell, as shtab has it.
COMPLETE_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "(__fish_complete_path (commandline -ct))"}
#: Every subcommand of the modules that are imported, by name.
COMMANDS: dict[str, Command] = {}


def command(*arguments: Argument) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the subcommand of its name, called with a value for each of ``arguments``."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        COMMANDS[run.__name__.replace("_", "-")] = Command(run, arguments)
        return run

    return register


def file_to_read(flag: str, **settings: Any) -> Argument:
    named = {"metavar": "FILE"} if flag.startswith("-") else {}
    return Argument(flag, type=Path, **named | settings)


def file_to_write(flag: str = "--output", **settings: Any) -> Argument:
    return Argument(flag, type=Path, writes=True, **{"metavar": "FILE"} | settings)


def experiment(default: str | None = None, flag: str = "--experiment", words: str = "") -> Argument:
    """An experiment, by default ``--experiment``; the function is given the checked ``Experiment``."""
    words += "a YAML file, a name in configs/experiments, or the experiment itself in braces (YAML or JSON)"
    option: dict[str, Any] = {"required": default is None, "default": default} if flag.startswith("-") else {}
    return Argument(flag, type=_given, read=matrix.load, help=words, **option)


def source() -> Argument:
    """``--experiment``, of which only the keys that name its data need to be there; the function is given these."""
    words = "as for the other stages; in braces, the keys that name the data are enough"
    return Argument("--experiment", type=_given, read=_data_of, required=True, help=words)


def main(arguments: list[str] | None = None) -> None:
    """Run one subcommand; a mistake ends with the line ``gumbel STAGE: message`` and status 1."""
    given = vars(parser().parse_args(arguments))
    stage = given["stage"]
    try:
        _run(COMMANDS[stage], given)
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        sys.exit(f"gumbel {stage}: {_message(error)}")
    except Exception as error:
        # Unforeseen: the whole trace for debugging, and the line by which `status` recognises a failed job's log
        traceback.print_exc()
        sys.exit(f"gumbel {stage}: {type(error).__name__}: {error}")


def commands() -> dict[str, Command]:
    """Every subcommand, sorted by name."""
    for module in pkgutil.iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(COMMANDS.items()))


def parser(program: str | None = None) -> argparse.ArgumentParser:
    """The command line of ``program``: by default, the name that it was started by."""
    form = argparse.RawDescriptionHelpFormatter
    program = program or ("gumbel" if Path(sys.argv[0]).name == "gumbel" else "python -m gumbel")
    parser = argparse.ArgumentParser(prog=program, description=ABOUT, formatter_class=form)
    subparsers = parser.add_subparsers(dest="stage", required=True, metavar="STAGE", title="stages")
    for name, command in commands().items():
        subparser = subparsers.add_parser(
            name, help=command.summary, description=command.description, formatter_class=form
        )
        for argument in command.arguments:
            action = subparser.add_argument(*argument.flags, **argument.settings | {"help": argument.help})
            if argument.settings.get("type") in (Path, _given):
                vars(action)["complete"] = COMPLETE_FILES
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


def _given(text: str) -> Path | str:
    """The file of an experiment that was given as a path or by its name; text in braces as it is."""
    return text if text.startswith("{") else inheritance.find(text)


def _data_of(given: Path | str) -> Source:
    record = matrix.read(given) if isinstance(given, str) else {}
    if record and set(record) <= set(Source.model_fields):
        return Source(**record)
    return matrix.source(matrix.load(given))
