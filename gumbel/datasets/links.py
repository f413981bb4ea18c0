"""Links to data that stays where it is."""

import os
from pathlib import Path

from gumbel.jobs.files import atomic_path


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
