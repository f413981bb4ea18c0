"""Files that others publish."""

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
