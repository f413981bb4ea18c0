"""JSON that people bring, packed by gzip or not: read whole, or, as LVIS train has 1.1 GB, entry by entry.

What is no JSON is refused in one line that says what it is.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import orjson

from gumbel.jobs.terminal import track_reading

_CHUNK = 1 << 22  # characters read at a time; more than an entry has
_LONGEST = 1 << 26  # characters of an entry after which the text is taken for damaged
_TAIL = 3  # characters after a value that settle its end: "1" may go on as "1e-5"
_BLANK = " \t\r\n"
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
_DAMAGE = (ValueError, EOFError, zlib.error, gzip.BadGzipFile)


def read_json(path: Path, expected: str) -> Any:
    """The whole of a JSON file. Raises ValueError, which says that ``expected`` was, for any other file."""
    content = path.read_bytes()
    try:
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
        return orjson.loads(content.removeprefix(_MARK))
    except _DAMAGE as error:
        if _NOT_FINITE.search(content):
            raise ValueError(f"expected finite numbers in {path}, found NaN or infinity, which JSON has not") from error
        _refuse(path, expected, error)


def _refuse(path: Path, expected: str, error: Exception) -> NoReturn:
    start = _beginning(path)
    known = (words for begin, words in _OTHERS.items() if start.startswith(begin))
    found = next(known, f"no valid JSON: damaged, truncated or of another form ({error})") if start else "an empty file"
    raise ValueError(f"expected {expected} in {path}, found {found}") from error


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(32)
    return start if start.startswith(_MARK) else start.lstrip()


def stream_lists(path: Path, expected: str = "a JSON object") -> Iterator[tuple[str, Any]]:
    """Yield (key, entry) for every entry of every list at the top level of the object in ``path``, in file order.

    Values that are not lists are passed over. Raises ValueError as :func:`read_json`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.json"
    >>> _ = path.write_text('{"info": {"year": 1}, "images": [{"id": 1}, {"id": 2}]}')
    >>> list(stream_lists(path))
    [('images', {'id': 1}), ('images', {'id': 2})]
    """
    start = _beginning(path)
    encoding = "utf-8-sig" if start.startswith(_MARK) else "utf-8"
    with track_reading(path, gzip.open if start.startswith(_GZIP) else open, encoding) as file:
        try:
            yield from _members(_Scanner(file))
        except _DAMAGE as error:
            _refuse(path, expected, error)


def _members(scanner: "_Scanner") -> Iterator[tuple[str, Any]]:
    if scanner.peek() == "[":
        raise ValueError("a list, as predictions are")
    for _ in scanner.elements("{", "}"):
        key = scanner.value()
        scanner.expect(":")
        if scanner.peek() != "[":
            scanner.value()
            continue
        for _ in scanner.elements("[", "]"):
            yield key, scanner.value()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"expected finite numbers, found {name}")


class _Scanner:
    """A window that slides over the text; the standard library decodes what lies in it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode

    def value(self) -> Any:
        """Decode the value that starts here. One that comes near the window's end may go on: read more, try again."""
        self.peek()
        last = False
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if last or end + _TAIL <= len(self._text):
                    self._at = end
                    return value
            except ValueError:
                if last:
                    raise
            last = len(self._text) - self._at > _LONGEST or not self._read()

    def elements(self, opening: str, closing: str) -> Iterator[None]:
        """Pause where each element between these brackets starts; they and the commas are stepped over."""
        self.expect(opening)
        if self.accept(closing):
            return
        yield
        while self.accept(","):
            yield
        self.expect(closing)

    def accept(self, character: str) -> bool:
        """Step over ``character`` if it comes next."""
        found = self.peek() == character
        self._at += found
        return found

    def expect(self, character: str) -> None:
        if not self.accept(character):
            raise ValueError(f"expected {character!r}, found {self.peek()!r}")

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                raise EOFError("the text ends too early")

    def _read(self) -> bool:
        more = self._file.read(_CHUNK)
        self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)
