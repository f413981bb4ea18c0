"""Read a JSON file of long lists entry by entry: LVIS train has 1.1 GB, and takes far more when parsed whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from gumbel.jobs.terminal import track_reading

_CHUNK = 1 << 22  # characters read at a time; more than an entry has
_LONGEST = 1 << 26  # characters of an entry after which the text is taken for damaged
_TAIL = 3  # characters after a value that settle its end: "1" may go on as "1e-5"
_BLANK = " \t\r\n"


def stream_lists(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (key, entry) for every entry of every list at the top level of the object in ``path``, in file order.

    Values that are not lists are passed over. Raises ValueError if the file is no such JSON, or is truncated.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.json"
    >>> _ = path.write_text('{"info": {"year": 1}, "images": [{"id": 1}, {"id": 2}]}')
    >>> list(stream_lists(path))
    [('images', {'id': 1}), ('images', {'id': 2})]
    """
    with track_reading(Path(path)) as file:
        try:
            yield from _members(_Scanner(file))
        except (ValueError, EOFError) as error:
            raise ValueError(
                f"expected a JSON object, found {path} damaged, truncated or of another form ({error})"
            ) from error


def _members(scanner: "_Scanner") -> Iterator[tuple[str, Any]]:
    for _ in scanner.elements("{", "}"):
        key = scanner.value()
        scanner.expect(":")
        if scanner.peek() != "[":
            scanner.value()
            continue
        for _ in scanner.elements("[", "]"):
            yield key, scanner.value()


class _Scanner:
    """A window that slides over the text; the standard library decodes what lies in it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._decode = json.JSONDecoder().raw_decode

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
