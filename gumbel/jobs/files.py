"""Writing files so that a reader never sees a half-written one."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    The parent directory is created. If the block raises, the temporary file is removed and
    whatever stood at ``path`` before is untouched. The content reaches the disk before the name
    does, so that a host that loses power leaves the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if not temporary.is_symlink():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, record: Any) -> None:
    """Write ``record`` as indented JSON, atomically. NaN and infinities are refused."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")


def fingerprint(paths: Iterable[Path]) -> str:
    """Digest of the files at and below ``paths`` and what they hold, whatever their times: copies have the same."""
    digest = hashlib.sha256()
    for top in paths:
        for path in (top, *sorted(top.rglob("*"))):
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(f"{path} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def link(place: Path, target: Path) -> None:
    """A symbolic link at ``place``, relative where ``target`` is; none where they are the same."""
    if place.absolute() == target.absolute():
        return
    if place.exists() and not place.is_symlink():
        raise FileExistsError(f"expected at most a link at {place}, found data; move it, or make it the data_root")
    relative = Path(os.path.relpath(target.absolute(), place.parent.absolute()))
    with atomic_path(place) as temporary:
        temporary.symlink_to(target if target.is_absolute() else relative)
        # As old as the data: verifying again makes no result out of date
        times = target.stat()
        os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns), follow_symlinks=False)
