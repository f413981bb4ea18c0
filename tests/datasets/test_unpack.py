"""Archives that lie, break or are interrupted: nothing is written outside, nothing half-unpacked gets its name."""

import multiprocessing
import os
import re
import signal
import stat
import zipfile

import pytest

from gumbel.datasets.unpack import unpack

PICTURES = {f"train2017/{number:012d}.jpg": bytes([number]) * 100 for number in range(5)}


def archive(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as contents:
        for name, content in files.items():
            contents.writestr(name, content)
    return path


def test_a_folder_and_a_file_are_unpacked_as_they_are(tmp_path):
    unpack(archive(tmp_path / "a.zip", {"train2017/": b"", **PICTURES}), "train2017", 5, tmp_path / "to" / "train2017")
    assert {
        f"train2017/{path.name}": path.read_bytes() for path in (tmp_path / "to" / "train2017").iterdir()
    } == PICTURES
    unpack(archive(tmp_path / "b.zip", {"x.json": "{}"}), "x.json", 1, tmp_path / "to" / "y.json")
    assert (tmp_path / "to" / "y.json").read_text() == "{}"
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"train2017", "y.json"}


@pytest.mark.parametrize(
    "name",
    ["../escaped", "/escaped", "train2017/../../escaped", "train2017//escaped", "train2017/./escaped", ".."],
)
def test_a_path_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path, name):
    path = archive(tmp_path / "a.zip", {**PICTURES, name: b"evil"})
    with pytest.raises(ValueError, match=f"found '{re.escape(name)}'; nothing was unpacked"):
        unpack(path, "train2017", 6, tmp_path / "to" / "train2017")
    assert [found.name for found in tmp_path.rglob("*") if found.is_file()] == ["a.zip"]
    assert not list(tmp_path.parent.rglob("escaped"))


def test_what_lies_beside_the_member_stays_in_the_archive(tmp_path):
    path = archive(tmp_path / "a.zip", {"__MACOSX/train2017/._x": b"", "train2017.txt": b"", **PICTURES})
    unpack(path, "train2017", 5, tmp_path / "to" / "train2017")
    assert len([found for found in (tmp_path / "to").rglob("*") if found.is_file()]) == 5


def test_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("train2017/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(ValueError, match="found 'train2017/link'"):
        unpack(archive(tmp_path / "a.zip", {link: "/etc"}), "train2017", 1, tmp_path / "train2017")


@pytest.mark.parametrize("files", [4, 6])
def test_an_archive_with_another_number_of_files_is_refused(tmp_path, files):
    path = archive(tmp_path / "a.zip", PICTURES)
    with pytest.raises(ValueError, match=f"expected {files} files of train2017 in .*, found 5"):
        unpack(path, "train2017", files, tmp_path / "train2017")
    assert not (tmp_path / "train2017").exists()


def test_a_zip_bomb_is_refused(tmp_path):
    path = archive(tmp_path / "a.zip", {"x.json": b"0" * 10_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="found 10000000; nothing was unpacked"):
        unpack(path, "x.json", 1, tmp_path / "x.json")
    assert {found.name for found in tmp_path.iterdir()} == {"a.zip"}


@pytest.mark.parametrize("damage", [slice(None, -30), slice(0, 0)], ids=["cut", "empty"])
def test_a_damaged_archive_is_named(tmp_path, damage):
    path = archive(tmp_path / "a.zip", PICTURES)
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(ValueError, match=r"expected a whole zip archive, found .*a\.zip damaged"):
        unpack(path, "train2017", 5, tmp_path / "train2017")
    assert not (tmp_path / "train2017").exists()


def test_a_picture_with_a_wrong_checksum_is_no_picture(tmp_path):
    path = archive(tmp_path / "a.zip", PICTURES)
    path.write_bytes(path.read_bytes().replace(bytes([3]) * 100, bytes([9]) * 100))
    with pytest.raises(ValueError, match="Bad CRC-32"):
        unpack(path, "train2017", 5, tmp_path / "train2017")
    assert not (tmp_path / "train2017").exists()


def unpack_and_die(path, target):
    """Unpack in this process, which is killed when it comes to the fourth picture."""
    extract = zipfile.ZipFile._extract_member

    def dying(self, member, *arguments):
        if member.filename.endswith("3.jpg"):
            os.kill(os.getpid(), signal.SIGKILL)
        return extract(self, member, *arguments)

    zipfile.ZipFile._extract_member = dying
    unpack(path, "train2017", 5, target)


def test_a_kill_in_the_middle_leaves_no_folder_of_that_name_and_the_next_run_is_whole(tmp_path):
    path = archive(tmp_path / "a.zip", PICTURES)
    process = multiprocessing.get_context("fork").Process(target=unpack_and_die, args=(path, tmp_path / "train2017"))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list((tmp_path / ".train2017.unpacking").rglob("*.jpg"))) == 3
    assert not (tmp_path / "train2017").exists()
    unpack(path, "train2017", 5, tmp_path / "train2017")
    assert len(list((tmp_path / "train2017").iterdir())) == 5
    assert {found.name for found in tmp_path.iterdir()} == {"a.zip", "train2017"}
