"""JSON that people bring, packed by gzip or not: read whole, or, as LVIS train has 1.1 GB, entry by entry.

What is no JSON is refused in one line that says what it is.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from msgspec import Raw, ValidationError
from msgspec.json import decode

from gumbel.jobs.terminal import track

_GZIP, _MARK = b"\x1f\x8b", b"\xef\xbb\xbf"  # the mark that some editors put before UTF-8
#: How other files begin, what they are, and what to do.
_OTHERS = {
    b"PK": "a zip archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ": "an xz archive: unpack it",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"\x80": "a pickle, such as mmdet's: not read; export JSON with `test_evaluator.format_only=True`",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
    b"PAR1": "a Parquet file",
    b"\x89HDF": "an HDF5 file",
    b"<": "a web page, or XML: download the file itself",
    b"\xff\xfe": "text in UTF-16: save it in UTF-8",
    b"\xfe\xff": "text in UTF-16: save it in UTF-8",
}
_NOT_FINITE = re.compile(rb"[\[:,]\s*-?(NaN|Infinity)\b")
_DAMAGE = (ValueError, RecursionError, EOFError, zlib.error, gzip.BadGzipFile)


def read_json(path: Path, expected: str, kind: Any = Any) -> Any:
    """The whole of a JSON file, as msgspec's type ``kind``.

    Raises ValueError, which says that ``expected`` was, for any other file.
    """
    with _content(path, expected) as content:
        return decode(content, type=kind)


def stream_lists(path: Path, expected: str = "a JSON object") -> Iterator[tuple[str, Any]]:
    """Yield (key, entry) for every entry of every list at the top level of the object in ``path``, in file order.

    Values that are not lists are passed over. Raises ValueError as :func:`read_json`; damage is found before any entry.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.json"
    >>> _ = path.write_text('{"info": {"year": 1}, "images": [{"id": 1}, {"id": 2}]}')
    >>> list(stream_lists(path))
    [('images', {'id': 1}), ('images', {'id': 2})]
    """
    with _content(path, expected) as content:
        if bytes(content[:32]).lstrip().startswith(b"["):
            raise ValueError("a list, as predictions are")
        for key, value in decode(content, type=dict[str, Raw]).items():
            if memoryview(value)[:1] == b"[":
                for entry in track(decode(value, type=list[Raw]), f"reading {path.name}: {key}"):
                    yield key, decode(entry)


@contextmanager
def _content(path: Path, expected: str) -> Iterator[memoryview]:
    """The text of a file, mapped into memory unless it is packed; errors of who decodes it say what the file is."""
    content = memoryview(b"")
    try:
        with path.open("rb") as file:
            content = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
        if content[: len(_GZIP)] == _GZIP:
            content = memoryview(gzip.decompress(content))
        yield content[len(_MARK) :] if content[: len(_MARK)] == _MARK else content
    except _DAMAGE as error:
        if _NOT_FINITE.search(content):
            raise ValueError(
                f"expected finite numbers in {path}, found NaN or infinity, which JSON does not allow"
            ) from error
        start = bytes(content[:32]).lstrip()
        known = (words for begin, words in _OTHERS.items() if start.startswith(begin))
        damage = "" if isinstance(error, ValidationError) else "no valid JSON: damaged, truncated or of "
        unknown = f"{damage}another form ({error})" if start else "an empty file"
        raise ValueError(f"expected {expected} in {path}, found {next(known, unknown)}") from error
