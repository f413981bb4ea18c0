"""An archive made to do harm is refused with a sentence, and writes nothing outside its own folder."""

import io
import json
import re
import tarfile
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pytest

from gumbel.datasets.unpack import MAX_GROWTH
from gumbel.exchange import archive

CONTENT = b"a file of the cell"
FILES = {"train/history.parquet": sha256(CONTENT).hexdigest()}
INDEX = {"format": 1, "experiment": "lvis", "cell": "a/b/seed0", "configuration": {}, "files": FILES}


def member(name: str, content: bytes = CONTENT, **settings: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in settings.items():
        setattr(info, key, value)
    return info, content


GOOD = member("train/history.parquet")
FIRST = member(archive.INDEX, json.dumps(INDEX).encode())


def archive_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> Path:
    with (
        pa.CompressedOutputStream(str(path), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=form) as tar,
    ):
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def refusal(path: Path, folder: Path) -> str:
    """The words in which an archive is refused; whatever was unpacked before lies inside the folder."""
    outside = {each for each in folder.parent.rglob("*") if folder not in each.parents}
    with pytest.raises(ValueError, match=r"^expected ") as refused:
        archive.extract(path, archive.read_index(path).files, folder)
    assert {each for each in folder.parent.rglob("*") if folder not in each.parents} == outside
    unpacked = sum(each.stat().st_size for each in folder.rglob("*"))
    assert unpacked <= MAX_GROWTH * path.stat().st_size + archive.ALLOWED
    return str(refused.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def test_what_was_packed_is_unpacked_and_the_same_files_give_the_same_bytes(tmp_path, folder):
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/a").write_bytes(b"1" * 3000)
    about = {"experiment": "lvis", "cell": "a/b/seed0", "configuration": {"lr": 0.02}}
    for name in ("one", "other"):
        archive.write(tmp_path / name, tmp_path / "cell", ["a"], **about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    index = archive.read_index(tmp_path / "one")
    assert index.model_dump(exclude={"format", "files"}) == about
    archive.extract(tmp_path / "one", index.files, folder)
    assert (folder / "a").read_bytes() == b"1" * 3000


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (member("../outside"), "'../outside', which leads out of its folder"),
        (member("train/../../outside"), "which leads out of its folder"),
        (member("/tmp/outside"), "'/tmp/outside', which leads out of its folder"),
        (member("train/link", b"", type=tarfile.SYMTYPE, linkname="/etc"), "which is a link, a folder or a device"),
        (member("train/link", b"", type=tarfile.LNKTYPE, linkname="../x"), "which is a link, a folder or a device"),
        (member("train/null", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "which is a link, a folder or a dev"),
        (member("train/pipe", b"", type=tarfile.FIFOTYPE), "which is a link, a folder or a device"),
        (member("train", b"", type=tarfile.DIRTYPE), "which is a link, a folder or a device"),
        (member("train/checkpoint.py"), "'train/checkpoint.py', which its index does not name"),
        (GOOD, "'train/history.parquet', twice"),
    ],
)
def test_a_member_that_is_no_file_of_the_cell_is_refused_by_name(bad, words, tmp_path, folder):
    assert words in refusal(archive_of(tmp_path / "bad", FIRST, GOOD, bad), folder)


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path, folder):
    link = member("train/history.parquet", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    assert "which is a link" in refusal(archive_of(tmp_path / "bad", FIRST, link), folder)


def test_a_file_that_is_not_the_one_of_the_index_is_refused(tmp_path, folder):
    path = archive_of(tmp_path / "bad", FIRST, member("train/history.parquet", b"another"))
    with pytest.raises(ValueError, match=r"expected train/history.parquet of .* to have the SHA-256 of its index"):
        archive.extract(path, archive.read_index(path).files, folder)


def test_a_missing_file_is_named(tmp_path, folder):
    assert "expected train/history.parquet in" in refusal(archive_of(tmp_path / "bad", FIRST), folder)


def test_an_archive_that_was_cut_off_is_refused(tmp_path, folder):
    path = tmp_path / "bad"
    archive_of(path, FIRST, GOOD)
    path.write_bytes(path.read_bytes()[:-40])
    refusal(path, folder)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x28\xb5\x2f\xfd damaged"])
def test_what_is_no_archive_is_refused(content, tmp_path, folder):
    (tmp_path / "bad").write_bytes(content)
    refusal(tmp_path / "bad", folder)


@pytest.mark.parametrize(
    "first",
    [
        GOOD,
        member(archive.INDEX, b"[" * 100_000),
        member(archive.INDEX, b"{}"),
        member(archive.INDEX, json.dumps(INDEX | {"files": ["/etc/passwd"]}).encode()),
        member(archive.INDEX, b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member(archive.INDEX, b" " * (archive.ALLOWED + 1)),
    ],
)
def test_an_archive_without_an_index_is_refused(first, tmp_path, folder):
    refusal(archive_of(tmp_path / "bad", first, GOOD), folder)


@pytest.mark.parametrize("where", ["file", "header"])
def test_an_archive_that_grows_beyond_measure_is_refused(where, tmp_path, folder):
    size = 2 * archive.ALLOWED
    bad = {
        "file": member("train/history.parquet", bytes(size)),
        "header": member("train/history.parquet", pax_headers={"comment": "0" * size}),
    }
    path = archive_of(tmp_path / "bad", FIRST, bad[where])
    assert path.stat().st_size * MAX_GROWTH + archive.ALLOWED < size
    assert re.search(r"expected at most [\d,]+ bytes inside .*bad, found more; remove it", refusal(path, folder))
