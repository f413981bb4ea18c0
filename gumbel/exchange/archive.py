"""The archive that a cell travels in: a tar file compressed with zstd, and read as what a stranger made.

Its first member is the index: whose files they are, the resolved configuration, and the SHA-256 of every other member.
The same cell gives the same bytes.
"""

import io
import json
import tarfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from gumbel.datasets.unpack import MAX_GROWTH
from gumbel.jobs import manifest
from gumbel.jobs.files import atomic_path

INDEX = "index.json"
#: Bytes that any archive may unpack to, and any record may have: small ones compress best.
ALLOWED = 1 << 22


class Index(BaseModel):
    """What an archive says that it holds: ``files`` below the cell's folder, each with its SHA-256."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    experiment: str
    cell: str
    configuration: dict[str, Any]
    files: dict[str, str]


def write(archive: Path, folder: Path, names: Collection[str], **about: Any) -> None:
    """Pack the files ``names`` of ``folder``; ``about`` are the other fields of the index."""
    index = Index(files={name: manifest.sha256(folder / name) for name in names}, **about)
    text = index.model_dump_json(indent=1).encode()
    with (
        atomic_path(archive) as temporary,
        pa.CompressedOutputStream(str(temporary), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.addfile(_member(INDEX, len(text)), io.BytesIO(text))
        for name in names:
            with (folder / name).open("rb") as content:
                tar.addfile(_member(name, (folder / name).stat().st_size), content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def read_index(archive: Path) -> Index:
    """The index of an archive. Raises ValueError where it has none."""
    with _opened(archive) as tar:
        member = tar.next()
        if member is None or (member.name, member.type) != (INDEX, tarfile.REGTYPE) or member.size > ALLOWED:
            found = "nothing" if member is None else f"{member.name!r} of {member.size:,} bytes"
            raise ValueError(f"expected {archive} to begin with a small {INDEX}, found {found}; ask for one of `pack`")
        content = tar.extractfile(member)
        assert content is not None
        record = parsed(content.read(), f"{INDEX} of {archive}")
    try:
        return Index.model_validate(record)
    except ValidationError as error:
        raise ValueError(f"expected the index of a cell in {archive}, found {error.errors()[0]['msg']}") from None


def extract(archive: Path, files: Mapping[str, str], folder: Path) -> None:
    """Unpack ``files``, names and SHA-256, into ``folder``, which is empty. Nothing of them is run.

    Raises:
        ValueError: the archive is damaged, or more than ``MAX_GROWTH`` times as large inside; it holds another file, or
            what is no plain file; one is missing, or another than its SHA-256 says.
    """
    seen: set[str] = set()
    with _opened(archive) as tar:
        for member in islice(tar, 1, None):
            if problem := _problem(member, files, seen):
                raise ValueError(f"expected each file of a cell once in {archive}, found {member.name!r}, {problem}")
            seen.add(member.name)
            tar.extract(member, folder, set_attrs=False, filter="data")
            if manifest.sha256(folder / member.name) != files[member.name]:
                raise ValueError(f"expected {member.name} of {archive} to have the SHA-256 of its index, found another")
    if missing := sorted(files.keys() - seen):
        raise ValueError(f"expected {', '.join(missing)} in {archive}, found it cut off; ask for it again")


def _problem(member: tarfile.TarInfo, files: Collection[str], seen: Collection[str]) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "which leads out of its folder"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return "which is a link, a folder or a device"
    if member.name not in files:
        return "which its index does not name"
    return "twice" if member.name in seen else None


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with (
            pa.CompressedInputStream(str(archive), "zstd") as stream,
            tarfile.open(fileobj=_Bounded(stream, archive), mode="r|") as tar,  # type: ignore[call-overload]
        ):
            yield tar
    except (tarfile.TarError, EOFError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # not Arrow's
            raise
        raise ValueError(f"expected a whole archive of `pack`, found {archive} damaged ({error})") from error


class _Bounded:
    """What an archive unpacks to, refused where it grows too large: tarfile reads headers of any size."""

    def __init__(self, stream: pa.NativeFile, archive: Path) -> None:
        self._stream, self._archive = stream, archive
        self._left = self._limit = MAX_GROWTH * archive.stat().st_size + ALLOWED

    def read(self, size: int) -> bytes:
        content: bytes = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"expected at most {self._limit:,} bytes inside {self._archive}, found more; remove it")
        return content


def parsed(text: bytes, source: str) -> Any:
    """What a text in JSON says. Raises ValueError for any other text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected JSON in {source}, found none ({error})") from None
