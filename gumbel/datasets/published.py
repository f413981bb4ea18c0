"""Files that others publish, and how long to try to have them."""

from dataclasses import dataclass

from gumbel.section import Section


class Download(Section):
    """A file, where it comes from, and what proves that it is the right one.

    ``bytes`` is null where the size is not published. ``sha256`` may be the leading digits alone. ``source`` says where
    the figures come from.
    """

    url: str
    bytes: int | None
    sha256: str
    source: str


@dataclass(frozen=True)
class Patience:
    """When to give up, and how often to report. Seconds, but for ``failures``: attempts in a row that bring nothing."""

    connect: float = 30
    silence: float = 60
    failures: int = 8
    pause: float = 5
    longest_pause: float = 60
    report: float = 10


PATIENCE = Patience()
