"""A miniature of LVIS v1 and its server: downloaded, found in any usual layout, verified, linked."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock

from gumbel.datasets import lvis_v1
from gumbel.datasets.lvis_v1 import Facts, published
from gumbel.datasets.lvis_v1 import provide as lvis
from gumbel.experiment import matrix
from gumbel.paths import REPOSITORY, DataPaths
from tests.datasets.server import IMPATIENT, Server, patience, serve

ROWS = [
    {"id": "1", "name": "cat", "synset": "cat.n.01", "frequency": "f", "image_count": "3", "instance_count": "4"},
    {"id": "2", "name": "yak", "synset": "yak.n.01", "frequency": "r", "image_count": "1", "instance_count": "1"},
]
#: Pictures of train and val, the latter from both folders, and the (image, category) of each annotation.
IMAGES = {"train": {1: "train2017", 2: "train2017", 3: "train2017"}, "val": {4: "train2017", 5: "val2017"}}
OBJECTS = {"train": [(1, 1), (1, 1), (2, 1), (3, 1), (3, 2)], "val": [(4, 1), (5, 2)]}


def annotations(split: str) -> dict:
    return {
        "categories": [{**row, "id": int(row["id"]), "image_count": 9, "instance_count": 9} for row in ROWS],
        "images": [
            {"id": key, "coco_url": f"http://images.cocodataset.org/{folder}/{key:012d}.jpg", "width": 16, "height": 12}
            for key, folder in IMAGES[split].items()
        ],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category, "bbox": [0, 0, 1, 1]}
            for number, (image, category) in enumerate(OBJECTS[split], 1)
        ],
    }


def picture(key: int) -> bytes:
    """A JPEG of 16 x 12 pixels, another one for each key."""
    pixels = np.random.default_rng(key).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


def members() -> dict[str, dict[str, bytes]]:
    """What each archive holds."""
    packed = {
        f"lvis_v1_{split}.json": {f"lvis_v1_{split}.json": json.dumps(annotations(split)).encode()} for split in IMAGES
    }
    for folder in ("train2017", "val2017"):
        keys = [key for split in IMAGES.values() for key, where in split.items() if where == folder] + [99]
        packed[folder] = {f"{folder}/{key:012d}.jpg": picture(key) for key in keys}
    return packed


@dataclass
class Miniature:
    """Its server, the facts that describe it, and folders for the data and the links."""

    server: Server
    facts: Facts
    root: Path
    links: DataPaths

    def provide(self, **settings: object) -> None:
        lvis.provide(self.root, self.links, self.facts, **settings)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for member, files in members().items():
        with zipfile.ZipFile(folder / f"{member}.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    with serve(folder) as server:
        yield server


@pytest.fixture
def mini(served, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    served.faults, served.always, served.requests = [], "well", []
    archives = [
        {
            "file": path.name,
            "url": f"{served.url}/{path.name}",
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "member": path.stem,
            "files": len(members()[path.stem]),
            "unpacked": 5000,
            "source": "this test",
        }
        for path in sorted(served.folder.glob("*.zip"))
    ]
    splits = {split: {"images": len(IMAGES[split]), "annotations": len(OBJECTS[split])} for split in IMAGES}
    facts = Facts(splits=splits, annotated_images=1, archives=archives, attribution="Whose it is.", categories=ROWS)
    return Miniature(served, facts, Path("data/lvis_v1"), DataPaths(Path("data/lvis_v1")))


def write_copy(root: Path, json_at: str = "annotations/lvis_v1_{split}.json", pictures_at: str = "{folder}") -> None:
    for member, files in members().items():
        for name, content in files.items():
            split = member.removeprefix("lvis_v1_").removesuffix(".json")
            place = json_at.format(split=split) if member.endswith(".json") else pictures_at.format(folder=member)
            path = root / place if member.endswith(".json") else root / place / Path(name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def assert_whole(links: DataPaths) -> None:
    """What the stages read is the miniature's: annotations, and each picture where mmdet looks for it."""
    for split, images in IMAGES.items():
        assert json.loads(links.annotations(split).read_text()) == annotations(split)
        for key, folder in images.items():
            assert (links.images / folder / f"{key:012d}.jpg").read_bytes() == picture(key)


def test_everything_is_downloaded_verified_and_linked(mini):
    mini.provide()
    assert_whole(mini.links)
    assert mini.links.attribution.read_text() == "Whose it is.\n"
    record = json.loads(mini.links.verified.read_text())
    train = record["annotations"]["train"]
    assert (train["images"], train["annotations"], train["frequencies"]) == (3, 5, {"r": 1, "c": 0, "f": 1})
    assert train["sha256"] == hashlib.sha256(mini.links.annotations("train").read_bytes()).hexdigest()
    assert {name: each["needed"] for name, each in record["pictures"].items()} == {"train2017": 4, "val2017": 1}
    assert len(mini.server.requests) == 4
    assert not (mini.root / "downloads").exists()


def test_what_is_there_is_not_downloaded_again_and_makes_no_result_out_of_date(mini):
    mini.provide()
    link = mini.links.annotations("train")
    before, times = os.lstat(link).st_mtime_ns, link.stat().st_mtime_ns
    mini.server.requests.clear()
    mini.provide()
    assert not mini.server.requests
    assert os.lstat(link).st_mtime_ns == before == times


@pytest.mark.parametrize("json_at", lvis.ANNOTATIONS)
@pytest.mark.parametrize("pictures_at", lvis.PICTURES)
def test_a_copy_in_a_usual_layout_is_verified_and_nothing_is_written_or_asked_for(mini, tmp_path, json_at, pictures_at):
    mini.root = tmp_path / "shared"
    write_copy(mini.root, json_at, pictures_at)
    before = sorted(mini.root.rglob("*"))
    mini.provide()
    assert_whole(mini.links)
    assert sorted(mini.root.rglob("*")) == before
    assert not mini.server.requests


def test_only_what_a_copy_lacks_is_downloaded(mini):
    write_copy(mini.root)
    (mini.root / "annotations" / "lvis_v1_val.json").unlink()
    mini.provide()
    assert_whole(mini.links)
    assert mini.server.requests == [("/lvis_v1_val.json.zip", None)]


def test_links_lead_to_an_absolute_copy_absolutely_and_inside_the_project_relatively(mini, tmp_path):
    mini.root = tmp_path / "shared"
    write_copy(mini.root)
    mini.provide()
    assert os.readlink(mini.links.annotations("val")) == str(tmp_path / "shared/annotations/lvis_v1_val.json")
    mini.root = Path("data/lvis_v1")
    write_copy(mini.root)
    mini.provide()
    assert os.readlink(mini.links.annotations("val")) == "annotations/lvis_v1_val.json"
    assert os.readlink(mini.links.images / "val2017") == "../val2017"


@pytest.mark.parametrize("fault", ["truncate", "stall", "503", "ignore truncate", "reset"])
def test_a_faulty_server_is_survived(mini, fault):
    mini.server.faults = [fault] * 4
    with patience(**IMPATIENT):
        mini.provide()
    assert_whole(mini.links)


@pytest.mark.parametrize("fault", ["404", "503", "wrong", "longer"])
def test_a_server_without_the_right_files_gives_an_error_and_no_data(mini, fault):
    mini.server.always = fault
    with pytest.raises((ValueError, ConnectionError), match=r"found"):
        mini.provide()
    assert not mini.links.annotations("train").exists()
    assert not mini.links.verified.exists()
    mini.server.always = "well"
    mini.provide()
    assert_whole(mini.links)


def test_a_failed_file_keeps_the_others_for_the_next_run(mini):
    (url,) = [archive.url for archive in mini.facts.archives if archive.member == "train2017"]
    broken = [
        archive.model_copy(update={"url": f"{url}/none"}) if archive.url == url else archive
        for archive in mini.facts.archives
    ]
    with pytest.raises(ValueError, match=r"train2017\.zip at .*; found answer 404"):
        lvis.provide(mini.root, mini.links, mini.facts.model_copy(update={"archives": broken}))
    mini.server.requests.clear()
    mini.provide()
    assert_whole(mini.links)
    assert "/train2017.zip" in {path for path, _ in mini.server.requests}


def test_a_copy_that_lacks_files_and_cannot_be_written_to_is_an_error_that_says_where_was_looked(mini, monkeypatch):
    write_copy(mini.root)
    (mini.root / "annotations" / "lvis_v1_val.json").unlink()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written to") as error:
        mini.provide()
    looked = str(error.value).splitlines()[1:-1]
    assert len(looked) == 1
    assert "data/lvis_v1/annotations/lvis_v1_val.json, data/lvis_v1/lvis_v1_val.json, " in looked[0]
    assert not mini.server.requests


def test_a_root_that_cannot_exist_is_the_same_error(mini):
    mini.root = Path("/proc/none")
    with pytest.raises(PermissionError, match="cannot be written to"):
        mini.provide()


def test_too_little_space_is_an_error_before_anything_is_downloaded(mini, monkeypatch):
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match="GB of free space at data/lvis_v1, found"):
        mini.provide()
    assert not mini.server.requests


def test_a_second_download_into_the_same_folder_is_refused(mini):
    (mini.root / "downloads").mkdir(parents=True)
    with FileLock(mini.root / "downloads" / "lock"), pytest.raises(ValueError, match="expected no other download"):
        mini.provide()
    assert not mini.server.requests


def change(record: dict, split: str, what: str) -> None:
    if what == "annotation missing":
        record["annotations"].pop()
    if what == "image missing":
        record["images"].pop()
    if what == "category missing":
        record["categories"].pop()
    if what == "category renamed":
        record["categories"][1]["name"] = "ox"
    if what == "frequency changed":
        record["categories"][1]["frequency"] = "c"
    if what == "annotation of another category":
        record["annotations"][0]["category_id"] = 2
    if what == "no url":
        del record["images"][0]["coco_url"]


CHANGES = {
    "annotation missing": "expected 5 annotations, found 4",
    "image missing": "expected 3 images, found 2",
    "category missing": "expected 2 categories, found 1",
    "category renamed": "'yak'.*'ox'",
    "frequency changed": "'r'.*found.*'c'",
    "annotation of another category": "expected 4 annotations of cat, found 3",
    "no url": "expected `coco_url` in every entry of `images`",
}


@pytest.mark.parametrize("what", CHANGES)
def test_annotations_that_differ_from_the_published_ones_are_refused(mini, what):
    write_copy(mini.root)
    path = mini.root / "annotations" / "lvis_v1_train.json"
    record = json.loads(path.read_text())
    change(record, "train", what)
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=CHANGES[what]) as error:
        mini.provide()
    assert str(path) in str(error.value)
    assert not mini.links.annotations("train").exists()


def test_images_that_show_a_category_are_counted_once_each(mini):
    write_copy(mini.root)
    path = mini.root / "annotations" / "lvis_v1_train.json"
    record = json.loads(path.read_text())
    record["annotations"][2]["image_id"] = 1  # four annotations of cat, as before, but in two images
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="expected 3 images with cat, found 2"):
        mini.provide()


def test_a_damaged_annotation_file_is_refused(mini):
    write_copy(mini.root)
    path = mini.root / "annotations" / "lvis_v1_val.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged, truncated"):
        mini.provide()


@pytest.mark.parametrize("empty", [True, False])
def test_a_half_copied_folder_of_pictures_is_not_taken_for_whole(mini, empty):
    write_copy(mini.root)
    picture = mini.root / "train2017" / f"{4:012d}.jpg"  # of val, yet in train2017
    picture.write_bytes(b"") if empty else picture.unlink()
    with pytest.raises(ValueError, match=rf"1 are missing or empty, train2017/{picture.name} for one"):
        mini.provide()
    assert not mini.links.verified.exists()


def test_a_file_where_a_link_belongs_is_not_replaced(mini, tmp_path):
    mini.root = tmp_path / "shared"
    write_copy(mini.root)
    mini.links.root.mkdir(parents=True)
    mini.links.annotations("val").write_text("mine")
    with pytest.raises(FileExistsError, match="expected at most a link at"):
        mini.provide()
    assert mini.links.annotations("val").read_text() == "mine"


def test_the_published_figures_agree_with_each_other():
    """Counted from the table of categories, which comes from the annotations, and known from the paper of LVIS."""
    facts = published()
    assert sum(int(row["instance_count"]) for row in facts.categories) == facts.splits["train"].annotations == 1270141
    letters = [row["frequency"] for row in facts.categories]
    assert [letters.count(letter) for letter in "rcf"] == [337, 461, 405]
    assert (facts.splits["train"].images, facts.splits["val"].images) == (100170, 19809)
    assert {archive.member: archive.files for archive in facts.archives} == {
        "lvis_v1_train.json": 1,
        "lvis_v1_val.json": 1,
        "train2017": 118287,
        "val2017": 5000,
    }
    assert all(len(archive.sha256) == 64 for archive in facts.archives)


@pytest.mark.slow
def test_the_benchmarks_file_has_lvis_shape_and_every_stage_reads_it():
    """A 500th of LVIS: the verification counts it, and mmdet loads its images that have annotations."""
    command = [sys.executable, REPOSITORY / "benchmarks" / "lvis_data.py", "--scale", "0.002"]
    command += ["--only", "verify", "--only", "objects", "--only", "mmdet"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    record = json.loads(done.stdout.splitlines()[-1])
    instances = sum(-(-int(row["instance_count"]) // 500) for row in published().categories)
    seen = record["verify"]["result"]
    assert (seen["images"], seen["annotations"], seen["categories"]) == (201, instances, 1203)
    assert record["mmdet"]["result"] == 201  # of 201, with 18 objects on average, none is empty


def test_minival_is_the_images_of_val_that_the_user_lists_and_nothing_else_of_it_changes(mini):
    write_copy(mini.root)
    mini.provide(minival={5})
    written = json.loads(mini.links.annotations("minival").read_text())
    val = annotations("val")
    assert written["categories"] == val["categories"]
    assert written["images"] == [each for each in val["images"] if each["id"] == 5]
    assert written["annotations"] == [each for each in val["annotations"] if each["image_id"] == 5]
    seen = json.loads(mini.links.verified.read_text())["annotations"]["minival"]
    assert seen["sha256"] == hashlib.sha256(mini.links.annotations("minival").read_bytes()).hexdigest()


def test_a_list_of_other_images_than_vals_is_refused(mini):
    write_copy(mini.root)
    with pytest.raises(
        ValueError, match=r"expected ids of images of .*val\.json in data\.minival, found 1 others of 2, 7"
    ):
        mini.provide(minival={5, 7})


def test_a_picture_of_another_size_than_its_annotation_is_named(mini):
    write_copy(mini.root)
    wrong = mini.root / "val2017" / f"{5:012d}.jpg"
    cv2.imwrite(str(wrong), np.zeros((12, 15, 3), np.uint8))
    with pytest.raises(ValueError, match=r"val2017/000000000005\.jpg to be 16 x 12 pixels.*found 15 x 12"):
        mini.provide()


def test_minival_is_a_split_where_a_list_is_named_and_refused_with_the_known_ones_where_not(tmp_path):
    record = {"base": "lvis", "name": "own", "description": "A part of val.", "splits": ["minival"]}
    with pytest.raises(ValueError, match=r"splits: expected one of train, val; found 'minival'"):
        matrix.parse(record)
    ids = tmp_path / "ids.json"
    with pytest.raises(ValueError, match=r"data.minival: expected a file .*found none at .*ids\.json"):
        matrix.parse(record | {"data": {"minival": str(ids)}})
    for listed in ([4, 5], {"images": [{"id": 4}, {"id": 5}]}):
        ids.write_text(json.dumps(listed))
        experiment = matrix.parse(record | {"data": {"minival": str(ids)}})
        data = matrix.data(experiment)
        lvis_v1.listed.cache_clear()
        assert (data.splits, data.size("minival"), data.inputs) == (("train", "val", "minival"), 2, (ids,))
    ids.write_text('["4"]')
    lvis_v1.listed.cache_clear()
    with pytest.raises(ValueError, match=r"expected a JSON list of ids of images in .*ids\.json"):
        data.size("minival")
