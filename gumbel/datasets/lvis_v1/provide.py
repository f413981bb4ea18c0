"""LVIS v1: find a copy, download what it lacks, verify it, link it to where stages read. See ``docs/data.md``."""

import os
import shutil
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

from filelock import FileLock, Timeout

from gumbel.datasets.download import fetch
from gumbel.datasets.json_stream import stream_lists
from gumbel.datasets.lvis_v1 import MINIVAL, Archive, Facts
from gumbel.datasets.lvis_v1.checks import check_annotations, check_pictures
from gumbel.datasets.sizes import check_sizes
from gumbel.datasets.subset import write_images
from gumbel.datasets.unpack import unpack
from gumbel.jobs.files import atomic_path, link, write_json
from gumbel.jobs.manifest import sha256
from gumbel.paths import DataPaths

#: Where copies keep annotations and pictures, below their root. Downloads go to the first place.
ANNOTATIONS = (
    "annotations/lvis_v1_{split}.json",
    "lvis_v1_{split}.json",
    "lvis/lvis_v1_{split}.json",
    "lvis_v1/annotations/lvis_v1_{split}.json",
    "annotations/{split}.json",
    "{split}.json",
)
PICTURES = ("{folder}", "images/{folder}", "coco/{folder}", "coco/images/{folder}", "lvis_v1/{folder}")


def provide(
    root: Path,
    links: DataPaths,
    whole: Facts,
    *,
    minival: Collection[int] | None = None,
    every_picture: bool = False,
) -> None:
    """Make ``links`` lead to a verified LVIS in ``root``; what ``root`` lacks is downloaded into it.

    Where ``minival`` lists ids of images, a split with these images of val is written. Sizes of a sample of the
    pictures, or of every one, are compared with the annotations.

    Raises:
        ValueError: the copy is damaged or not LVIS v1, a download is another file, or there is too little space.
        OSError: something is missing and cannot be downloaded.
    """
    found = _find(root, whole.archives)
    if missing := [archive for archive in whole.archives if archive.member not in found]:
        _download(root, missing)
        found = _find(root, whole.archives)
    record = _verify(found, whole, every_picture)
    for archive in whole.archives:
        split = _split(archive)
        link(links.annotations(split) if split else links.images / archive.member, found[archive.member])
    if minival is not None:
        record["annotations"][MINIVAL] = _write_minival(found["lvis_v1_val.json"], minival, links.annotations(MINIVAL))
    with atomic_path(links.attribution) as temporary:
        temporary.write_text(whole.attribution + "\n")
    write_json(links.verified, record)


def _write_minival(val: Path, ids: Collection[int], output: Path) -> dict[str, Any]:
    """Write the images ``ids`` of ``val`` to ``output``; return what was written, as the record keeps it."""
    known = {entry["id"] for key, entry in stream_lists(val) if key == "images"}
    if unknown := sorted(set(ids) - known):
        raise ValueError(
            f"expected ids of images of {val} in data.minival, found {len(unknown)} others of {len(ids)}, "
            f"{unknown[0]} for one; name a list for LVIS v1 val"
        )
    write_images(val, ids, output, f"images of {val.name} that data.minival lists")
    # As old as the data: writing it again makes no result out of date
    shutil.copystat(val, output)
    print(f"{output}: {len(ids)} images of {val}", flush=True)
    return {"file": str(output), "bytes": output.stat().st_size, "sha256": sha256(output), "images": len(ids)}


def _split(archive: Archive) -> str | None:
    """``train`` of lvis_v1_train.json; None for a folder of pictures."""
    return archive.member.removeprefix("lvis_v1_").removesuffix(".json") if archive.member.endswith(".json") else None


def _places(root: Path, archive: Archive) -> list[Path]:
    split = _split(archive)
    patterns = ANNOTATIONS if split else PICTURES
    return [root / pattern.format(split=split, folder=archive.member) for pattern in patterns]


def _find(root: Path, archives: Iterable[Archive]) -> dict[str, Path]:
    """Where each member is, of those that are there."""
    found = {archive.member: next(filter(Path.exists, _places(root, archive)), None) for archive in archives}
    return {member: place for member, place in found.items() if place}


def _download(root: Path, archives: list[Archive]) -> None:
    """Download and unpack ``archives``, side by side. What was complete before a failure is kept."""
    folder = root / "downloads"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        lines = "".join(f"\n  {', '.join(map(str, _places(root, archive)))}" for archive in archives)
        raise PermissionError(
            f"expected one of each line{lines}\nfound none, and {root} cannot be written to, to download it. "
            "Complete the copy, or let data_root name a folder of your own, with links to what there is"
        )
    _require_space(root, archives)
    try:
        with FileLock(folder / "lock", blocking=False):
            _download_all(root, folder, archives)
    except Timeout:
        raise ValueError(f"expected no other download into {root}, found one: wait for it to end") from None
    (folder / "lock").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _require_space(root: Path, archives: Iterable[Archive]) -> None:
    """Archives and what they hold lie side by side until an archive is unpacked."""
    needed = sum(archive.unpacked + (archive.bytes or 0) for archive in archives)
    kept = sum(path.stat().st_size for path in (root / "downloads").iterdir())
    free = shutil.disk_usage(root).free
    if free < needed - kept:
        raise ValueError(
            f"expected {(needed - kept) / 1e9:.1f} GB of free space at {root}, found {free / 1e9:.1f} GB: "
            "make room, or let data_root name a folder on another disk"
        )


def _download_all(root: Path, folder: Path, archives: list[Archive]) -> None:
    stop = Event()

    def bring(archive: Archive) -> None:
        packed = folder / archive.file
        fetch(archive, packed, stop)
        print(f"{archive.file}: verified, unpacking", flush=True)
        unpack(packed, archive.member, archive.files, _places(root, archive)[0])
        packed.unlink()

    with ThreadPoolExecutor(len(archives)) as pool:
        jobs = [pool.submit(bring, archive) for archive in archives]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            stop.set()  # the others' parts stay on disk, for the next run to go on with
            raise


def _verify(found: dict[str, Path], whole: Facts, every_picture: bool) -> dict[str, Any]:
    """Check annotations and pictures; return what was seen, as verified.json keeps it."""
    record: dict[str, Any] = {"schema": 1, "annotations": {}, "pictures": {}}
    named: dict[str, tuple[int, int]] = {}
    for split, size in whole.splits.items():
        path = found[f"lvis_v1_{split}.json"]
        seen, pictures = check_annotations(path, size.images, size.annotations, whole.categories, split == "train")
        record["annotations"][split] = seen
        named |= pictures
        groups = "/".join(str(number) for number in seen["frequencies"].values())
        print(
            f"{path}: {seen['images']} images, {seen['annotations']} annotations, "
            f"{seen['categories']} categories, r/c/f {groups}",
            flush=True,
        )
    folders = {member: path for member, path in found.items() if not member.endswith(".json")}
    sizes = {folders[name.partition("/")[0]] / name.partition("/")[2]: size for name, size in named.items()}
    counted = check_pictures(named, folders)
    print(f"{check_sizes(sizes, every_picture)} of {len(sizes)} pictures are of the size that is annotated", flush=True)
    for member, number in counted.items():
        record["pictures"][member] = {"folder": str(folders[member]), "needed": number}
        print(f"{folders[member]}: all {number} pictures that the annotations name", flush=True)
    return record
