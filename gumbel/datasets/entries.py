"""The entries of annotations, in the LVIS v1 or COCO's form, checked alike wherever they are read."""

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

from msgspec import Meta

from gumbel.datasets.json_stream import read_json, stream_lists

Record = dict[str, Any]
#: The lists that are read, and what each of their entries must have.
Fields = Mapping[str, tuple[str, ...]]

FREQUENCIES = ("r", "c", "f")
LVIS = "LVIS v1 annotations"
_LIMIT = 1 << 63  # of ids, which are 64-bit integers everywhere
#: What :func:`is_id` and :func:`is_box` test, and a number of pixels, as msgspec's types.
Id = Annotated[int, Meta(ge=-_LIMIT, le=_LIMIT - 1)]
Length = Annotated[int, Meta(ge=0, lt=1 << 31)]
Box = tuple[float, float, float, float]
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 2


def is_id(value: Any) -> bool:
    """Whether ``value`` is a whole number of 64 bits: ``true`` and 1.0 are none."""
    return type(value) is int and -_LIMIT <= value < _LIMIT


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    return type(value) in (int, float) and abs(value) < math.inf


def is_box(value: Any) -> bool:
    """Whether ``value`` is a list of four finite numbers."""
    return type(value) is list and len(value) == 4 and all(map(is_number, value))


def _is_length(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def _is_shape(value: Any) -> bool:
    match value:
        case list():
            return True
        case {"size": [int(), int()], "counts": str() | list()}:
            return True
    return False


_ID = (is_id, "a whole number of at most 64 bits")
_IDS = (lambda value: type(value) is list and all(map(is_id, value)), "a list of whole numbers of at most 64 bits")
_LENGTH = (_is_length, "a number of pixels")
_TEXT = (lambda value: type(value) is str, "a text")
#: What a field must be.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("id", "image_id", "category_id"), _ID),
    **dict.fromkeys(("neg_category_ids", "not_exhaustive_category_ids"), _IDS),
    **dict.fromkeys(("height", "width"), _LENGTH),
    **dict.fromkeys(("name", "coco_url", "file_name"), _TEXT),
    **dict.fromkeys(("area", "image_count"), (is_number, "a number")),
    "frequency": (lambda value: value in FREQUENCIES, "r, c or f"),
    "bbox": (is_box, "[x, y, width, height]"),
    "segmentation": (_is_shape, "polygons or an RLE"),
}


def read_annotations(path: Path, fields: Fields, expected: str = LVIS) -> Record:
    """The record at ``path`` with the lists of ``fields``, each with ids that differ; it is read whole.

    Raises:
        ValueError: it is another file, or an entry lacks a field or has another thing there; in one line.
    """
    record = read_json(path, expected)
    if type(record) is not dict:
        raise ValueError(f"expected {expected} in {path}, found {brief(record)}: give the annotations themselves")
    for key, needed in fields.items():
        if type(record.get(key)) is not list:
            raise ValueError(f"expected {expected} with a list `{key}` in {path}, found none: use {expected}")
        check_entries(record[key], key, needed, path, expected)
    return record


def check_entries(entries: list[Any], key: str, needed: tuple[str, ...], path: Path, expected: str = LVIS) -> None:
    """Raise ValueError as :func:`read_annotations`, for the list ``key``."""
    for entry in entries:
        _check(entry, key, needed, path, expected)
    check_ids([entry["id"] for entry in entries], key, path)


def check_ids(ids: list[int], key: str, path: Path) -> None:
    """Raise ValueError unless the entries of the list ``key`` have ids that differ."""
    if len(set(ids)) < len(ids):
        raise ValueError(f"expected every id once in `{key}` of {path}, found repeated ids: number them anew")


def stream_annotations(path: Path, fields: Fields, expected: str = LVIS) -> Iterator[tuple[str, Record]]:
    """Yield (key, entry) for every entry of the lists of ``fields``, and of any other, entry by entry.

    Raises:
        ValueError: as :func:`read_annotations`, at the end for a list without entries; that of annotations may be so.
    """
    missing = {*fields} - {"annotations"}
    for key, entry in stream_lists(path, expected):
        missing.discard(key)
        if key in fields:
            _check(entry, key, fields[key], path, expected)
        yield key, entry
    if missing:
        raise ValueError(f"expected entries in a list `{min(missing)}` of {path}, found none: use {expected}")


def _check(entry: Any, key: str, needed: tuple[str, ...], path: Path, expected: str) -> None:
    if type(entry) is not dict:
        raise ValueError(f"expected an object in every entry of `{key}` of {path}, found {brief(entry)}")
    for name in needed:
        if name not in entry or not _KINDS[name][0](entry[name]):
            _refuse(entry, key, name, path, expected)


def _refuse(entry: Record, key: str, name: str, path: Path, expected: str) -> NoReturn:
    where = f"in every entry of `{key}` of {path}"
    if name not in entry:
        raise ValueError(f"expected `{name}` {where}, found none in {brief(entry)}: use {expected}")
    found = f"{brief(entry[name])} in {brief(entry)}"
    raise ValueError(f"expected {_KINDS[name][1]} as `{name}` {where}, found {found}: correct the file")


def brief(value: Any) -> str:
    """What was found, for a message: its kind if it is long, else itself.

    >>> brief([[1, 2, 3]] * 1000)
    'a list of 1000 entries'
    """
    if type(value) is list and len(value) > 4:
        return f"a list of {len(value)} entries"
    return _BRIEF.repr(value)
