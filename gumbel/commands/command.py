"""What a subcommand is: a function, and the arguments that it is called with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gumbel.experiment import inheritance, matrix
from gumbel.experiment.schema import Experiment, Source

#: Every subcommand of the modules that are imported, by name.
COMMANDS: dict[str, "Command"] = {}


class Argument:
    """An argument as argparse declares it.

    Args:
        flags: its name, or option strings.
        read: makes of the given value what the function is called with; what it raises is a mistake of the user's.
        writes: it names a file to write.
        settings: further settings of argparse.
    """

    def __init__(
        self, *flags: str, read: Callable[[Any], Any] | None = None, writes: bool = False, **settings: Any
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

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with."""
        return {each.name: each.read(given[each.name]) if each.read else given[each.name] for each in self.arguments}

    def inputs(self, given: Mapping[str, Any]) -> list[Path]:
        """Every file that the subcommand was given to read."""
        values = [given[each.name] for each in self.arguments if not each.writes]
        return [value for value in values if isinstance(value, Path) and value.is_file()]


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
    """``--experiment``; the function is given the :class:`Experiment`, checked."""
    words = "a file (YAML), a name in configs/experiments, or the experiment itself in braces (YAML or JSON)"
    words += f"; {default} if not given" if default else ""
    return Argument(
        "--experiment", type=_given, read=_experiment, required=default is None, default=default, help=words
    )


def source() -> Argument:
    """``--experiment``, of which only the keys that name its data need to be there; the function is given these."""
    words = "as of the other stages; in braces, the keys that name its data suffice"
    return Argument("--experiment", type=_given, read=_data_of, required=True, help=words)


def _given(text: str) -> Path | str:
    """The file of an experiment that was given as a path or by its name; text in braces as it is."""
    return text if text.startswith("{") else inheritance.find(text)


def _experiment(source: Path | str) -> Experiment:
    return matrix.load(source) if isinstance(source, Path) else matrix.loads(source, "the text of --experiment")


def _data_of(source: Path | str) -> Source:
    record = {} if isinstance(source, Path) else matrix.read(source, "the text of --experiment")
    if record and set(record) <= set(Source.model_fields):
        return Source(**record)
    return matrix.source(_experiment(source))
