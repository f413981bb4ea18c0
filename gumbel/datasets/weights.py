"""Weights that somebody published under a URL: downloaded once, and from then on the same file or none."""

import json
import re
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gumbel import paths
from gumbel.datasets.published import Download
from gumbel.jobs import manifest
from gumbel.jobs.files import write_json

#: How a pickle begins, as PyTorch's files did before torch 1.6; since then they are zip archives.
_PICKLE = b"\x80"


def is_url(source: str) -> bool:
    """Whether weights are named by a URL and not by a path."""
    return re.match(r"https?://", source) is not None


def path(source: str) -> Path:
    """Where the weights of this path or URL lie; a URL's own name follows digits that tell URLs apart.

    >>> path("weights/gumbel.pth")
    PosixPath('weights/gumbel.pth')
    >>> path("https://example.org/a/epoch_24.pth?dl=0").name
    '1b0febd0-epoch_24.pth'
    """
    if not is_url(source):
        return Path(source)
    name = re.sub(r"[^\w.-]", "_", unquote(urlsplit(source).path).rpartition("/")[2]) or "weights"
    return paths.given_weights(f"{sha256(source.encode()).hexdigest()[:8]}-{name}")


def provide(url: str) -> Path:
    """Download ``url`` to its path, unless it is there, and return the path.

    The SHA-256 of the first download is written beside it; a file that comes later must have the same. A link of
    a file host that answers with a page about the file (``dl=0``) is asked for the file (``dl=1``).

    Raises:
        ValueError: the file is another one than the first, or no weights.
        ConnectionError: as ``download.fetch``.
    """
    from gumbel.datasets.download import fetch

    target = path(url)
    record = target.with_name(f"{target.name}.json")
    known = json.loads(record.read_text()) if record.exists() else {}
    source = f"{record}, as first downloaded" if known else "its first download"
    asked = known.get("asked", url)
    while True:
        # Unpublished, the first download's hash is any
        wanted = Download(url=asked, bytes=known.get("bytes"), sha256=known.get("sha256", ""), source=source)
        fetch(wanted, target)
        if known or _is_weights(target):
            break
        page = _beginning(target).lstrip().startswith(b"<")
        target.unlink()
        direct = re.sub(r"([?&])dl=0\b", r"\1dl=1", asked)
        if not page or direct == asked:
            found = "a web page" if page else "another or a damaged file"
            raise ValueError(
                f"expected weights of PyTorch at {asked}, found {found}; name a link to the file itself in "
                f"`checkpoints`, or download it in a browser and copy it to {target}"
            )
        print(f"{asked} is a page about the file; asking for {direct}", flush=True)
        asked = direct
    if not known:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        known = dict(bytes=target.stat().st_size, sha256=manifest.sha256(target), first_downloaded=now)
        write_json(record, dict(schema=1, url=url, asked=asked, **known))
    print(f"{target}: SHA-256 {known['sha256']}")
    return target


def _is_weights(file: Path) -> bool:
    """Whether a file looks like PyTorch's, and is whole as far as its archive tells."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    return _beginning(file).startswith(_PICKLE)


def _beginning(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(512)
