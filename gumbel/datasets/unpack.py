"""Unpack zip archives: nothing outside the target, and nothing under its name before it is whole."""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path

from gumbel.jobs.terminal import track

#: An archive may grow by this factor: JSON grows threefold, pictures hardly, a zip bomb a thousandfold.
MAX_GROWTH = 20


def unpack(archive: Path, member: str, files: int, target: Path) -> None:
    """Unpack ``member``, a file or a folder of ``files`` files, to ``target``, which must not exist.

    What else the archive holds is left in it. An interrupted unpacking leaves a hidden folder beside ``target``, which
    the next one removes.

    Raises:
        ValueError: the archive is damaged, holds another number of files, or names a path that leads elsewhere.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as contents:
            entries = _checked(contents, archive, member, files)
            for entry in track(entries, f"unpacking {member}"):
                contents.extract(entry, partial)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(f"expected a whole zip archive, found {archive} damaged ({error}); remove it") from error
    os.rename(partial / member, target)
    shutil.rmtree(partial)


def _checked(contents: zipfile.ZipFile, archive: Path, member: str, files: int) -> list[zipfile.ZipInfo]:
    """The entries of ``member``, when none of the archive's entries is a trap."""
    for entry in contents.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if {"", ".", ".."} & set(_parts(entry)) or kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(
                f"expected files and folders below {archive}, found {entry.filename!r}; nothing was unpacked, remove it"
            )
    entries = [entry for entry in contents.infolist() if _parts(entry)[0] == member]
    found = len({entry.filename for entry in entries if not entry.is_dir()})
    if found != files:
        raise ValueError(f"expected {files} files of {member} in {archive}, found {found}; nothing was unpacked")
    size, packed = sum(entry.file_size for entry in entries), archive.stat().st_size
    if size > MAX_GROWTH * packed:
        raise ValueError(
            f"expected at most {MAX_GROWTH} times the {packed} bytes of {archive} inside, found {size}; nothing was "
            "unpacked, remove it"
        )
    return entries


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    return entry.filename.rstrip("/").split("/")
