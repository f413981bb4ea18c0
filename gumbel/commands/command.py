"""What a subcommand is: a function, and the arguments that it is called with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gumbel.experiment import inheritance, matrix
from gumbel.experiment.schema import Source

#: Every subcommand of the modules that are imported, by name.
COMMANDS: dict[str, "Command"] = {}


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


@dataclass(frozen=True)
class Command:
    """A subcommand; the first line of its function's docstring says what it does."""

    run: Callable[..., None]
    arguments: tuple[Argument, ...]

    @property
    def summary(self) -> str:
        return str(self.run.__doc__).partition("\n")[0]


def command(*arguments: Argument) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the subcommand of its name, called with a value for each of ``arguments``."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        COMMANDS[run.__name__.replace("_", "-")] = Command(run, arguments)
        return run

    return register


def file_to_read(*flags: str, **settings: Any) -> Argument:
    return Argument(*flags, type=Path, **settings)


def file_to_write(flag: str = "--output", **settings: Any) -> Argument:
    return Argument(flag, type=Path, writes=True, **settings)


def experiment(default: str | None = None) -> Argument:
    """``--experiment``; the function is given the checked ``Experiment``."""
    words = "a file (YAML), a name in configs/experiments, or the experiment itself in braces (YAML or JSON)"
    words += f"; {default} if not given" if default else ""
    return Argument(
        "--experiment", type=_given, read=matrix.load, required=default is None, default=default, help=words
    )


def source() -> Argument:
    """``--experiment``, of which only the keys that name its data need to be there; the function is given these."""
    words = "as of the other stages; in braces, the keys that name its data suffice"
    return Argument("--experiment", type=_given, read=_data_of, required=True, help=words)


def _given(text: str) -> Path | str:
    """The file of an experiment that was given as a path or by its name; text in braces as it is."""
    return text if text.startswith("{") else inheritance.find(text)


def _data_of(given: Path | str) -> Source:
    record = matrix.read(given) if isinstance(given, str) else {}
    if record and set(record) <= set(Source.model_fields):
        return Source(**record)
    return matrix.source(matrix.load(given))
