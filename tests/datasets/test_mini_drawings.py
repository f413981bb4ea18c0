"""The drawings of the embedded data: npm against a registry of our own, every artist's against what npm's has."""

import base64
import csv
import hashlib
import io
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gumbel.datasets.annotations import polygons
from gumbel.datasets.mini import MiniData, npm
from gumbel.datasets.mini import generate as mini
from gumbel.datasets.mini.artists import ARTISTS, artists
from gumbel.datasets.mini.pictures import PICTURES, cut_out, drawings, things
from gumbel.paths import DRAWINGS, REPOSITORY

LOCK = json.loads((PICTURES.parent / npm.LOCK).read_text())
SMALL = MiniData(
    image_size=96, categories=12, train_images=24, val_images=12, warm_start_images=8, warm_start_categories=4
)

# --- npm ------------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry with one package, ``drawings`` 1.0.0, that npm is pointed at."""
    served = tmp_path / "served"
    served.mkdir()
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}")
    with tarfile.open(served / "drawings-1.0.0.tgz", "w:gz") as archive:
        for name, text in {"package.json": '{"name": "drawings", "version": "1.0.0"}', "icons.json": "{}"}.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    (served / "drawings").mkdir()
    (served / "drawings" / "index.html").write_text(
        json.dumps(
            {
                "name": "drawings",
                "dist-tags": {"latest": "1.0.0"},
                "versions": {
                    "1.0.0": {
                        "name": "drawings",
                        "version": "1.0.0",
                        "dist": {"tarball": f"http://127.0.0.1:{server.server_port}/drawings-1.0.0.tgz"},
                    }
                },
            }
        )
    )
    yield server, served / "drawings-1.0.0.tgz"
    server.shutdown()


def project(folder: Path, archive: bytes) -> Path:
    """A folder that asks for ``drawings`` with the hash of ``archive``."""
    folder.mkdir(exist_ok=True)
    asked = {"name": "project", "dependencies": {"drawings": "1.0.0"}}
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    locked = {"version": "1.0.0", "integrity": f"sha512-{digest}"}
    lock = {"name": "project", "lockfileVersion": 3, "packages": {"": asked, "node_modules/drawings": locked}}
    (folder / "package.json").write_text(json.dumps(asked))
    (folder / npm.LOCK).write_text(json.dumps(lock))
    return folder


def test_packages_come_from_the_registry_once_and_then_need_none(registry, tmp_path):
    server, archive = registry
    asked = project(tmp_path / "project", archive.read_bytes())
    packages = npm.install(asked, tmp_path / "drawings")
    assert (packages / "drawings" / "icons.json").read_text() == "{}"
    server.shutdown()
    server.server_close()
    (packages / "drawings" / "icons.json").write_text("kept")
    assert npm.install(asked, tmp_path / "drawings") == packages
    assert (packages / "drawings" / "icons.json").read_text() == "kept"


def test_a_package_of_another_hash_is_refused_and_leaves_what_was_there(registry, tmp_path):
    _, archive = registry
    (tmp_path / "drawings").mkdir()
    (tmp_path / "drawings" / npm.LOCK).write_text("an older lock file")
    with pytest.raises(OSError, match="integrity checksum failed"):
        npm.install(project(tmp_path / "project", b"something else"), tmp_path / "drawings")
    assert [path.name for path in (tmp_path / "drawings").iterdir()] == [npm.LOCK]
    npm.install(project(tmp_path / "project", archive.read_bytes()), tmp_path / "drawings")
    assert (tmp_path / "drawings" / "node_modules" / "drawings" / "icons.json").exists()
    assert not list(tmp_path.glob(".drawings.partial*"))


def test_without_its_registry_npm_fails_with_what_to_do(registry, tmp_path):
    server, archive = registry
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match=r"ECONNREFUSED[\s\S]*copy .*drawings from a machine .* `data\.drawings` to 1"):
        npm.install(project(tmp_path / "project", archive.read_bytes()), tmp_path / "drawings")
    assert not (tmp_path / "drawings").exists()


# --- what is asked for ----------------------------------------------------------------------------------------


def test_the_lock_file_pins_every_artist_by_hash_and_names_no_registry():
    asked = json.loads((PICTURES.parent / "package.json").read_text())["dependencies"]
    assert set(asked) == {f"@iconify-json/{name}" for name in ARTISTS[1:]}
    packages = {name.removeprefix("node_modules/"): package for name, package in LOCK["packages"].items() if name}
    assert {name: packages[name]["version"] for name in asked} == asked
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert all("resolved" not in package for package in packages.values())


def test_a_drawing_is_left_out_of_those_that_there_are_and_never_openmojis():
    with PICTURES.open() as file:
        dropped = {row["name"]: row["dropped"].split() for row in csv.DictReader(file)}
    assert all(set(names) <= set(ARTISTS[1:]) for names in dropped.values())
    assert "fxemoji" in dropped["computer_keyboard"]  # a piano


# --- what the artists drew ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages():
    """The packages of the artists, in the checkout; tests of them are skipped where npm can't reach its registry."""
    try:
        return npm.install(PICTURES.parent, REPOSITORY / DRAWINGS)
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def drawn(packages):
    """Every drawing of every thing."""
    by = artists(packages)
    return {thing.name: drawings(thing, by, len(ARTISTS)) for thing in things()}


def test_almost_every_category_has_four_to_eight_drawings(drawn):
    counts = np.array([len(of) for of in drawn.values()])
    assert counts.min() >= 2
    assert counts.max() == len(ARTISTS)
    assert (counts >= 4).mean() > 0.95
    assert counts.mean() > 6


def test_the_first_drawing_of_a_category_is_openmojis_whatever_else_there_is(packages, drawn):
    by = artists(packages)
    for thing in things()[::20]:
        (first,) = drawings(thing, artists(None), 1)
        assert np.array_equal(first, drawn[thing.name][0])
        assert len(drawings(thing, by, 3)) == min(3, len(drawn[thing.name]))


def test_artists_draw_the_same_thing_differently(drawn):
    for name, of in drawn.items():
        small = {cv2.resize(drawing, (16, 16), interpolation=cv2.INTER_AREA).tobytes() for drawing in of}
        assert len(small) == len(of), name


def test_drawings_are_large_enough_and_polygons_follow_them(drawn):
    """At half the side of a scene of 128 pixels."""
    ious, areas = [], []
    for of in drawn.values():
        for drawing in of[1:]:
            scale = 60 / max(drawing.shape[:2])
            solid = cv2.resize(drawing[..., 3], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) > 127
            mask = np.pad(solid, ((2, 64 - solid.shape[0]), (2, 64 - solid.shape[1])))
            side = max(mask.shape)
            mask = np.pad(mask, ((0, side - mask.shape[0]), (0, side - mask.shape[1])))
            follows = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons(mask), side, side))) > 0
            ious.append((mask & follows).sum() / (mask | follows).sum())
            areas.append(mask.sum() / 60**2)
    assert min(ious) > 0.75
    assert np.mean(ious) > 0.95
    assert min(areas) > 0.1


def test_an_alias_and_a_name_without_hyphens_lead_to_the_drawing(packages):
    sets = {artist.name: artist for artist in artists(packages)}
    icons = json.loads((packages / "@iconify-json" / "fxemoji" / "icons.json").read_text())["icons"]
    assert icons["alarmclock"]["body"] in sets["fxemoji"].drawing("23F0")
    record = json.loads((packages / "@iconify-json" / "emojione" / "icons.json").read_text())
    parent = record["aliases"]["bear"]["parent"]
    assert record["icons"][parent]["body"] in sets["emojione"].drawing("1F43B")
    assert sets["fxemoji"].drawing("1F951") is None  # an avocado, younger than the set


def test_a_drawing_that_is_not_square_keeps_its_proportions():
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 40"><rect width="20" height="40"/></svg>'
    assert cut_out(svg, 80).shape == (80, 40, 4)


@pytest.fixture(scope="module")
def scenes(packages, tmp_path_factory):
    """Two generations of the same small data, in folders of their own."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, "DRAWINGS", REPOSITORY / DRAWINGS)
        for name in ("one", "two"):
            mini.generate(SMALL, folder / name)
        mini.generate(SMALL.model_copy(update={"drawings": 1}), folder / "openmoji")
    return folder


def test_the_same_seed_gives_the_same_bytes_with_all_artists(scenes):
    one, two = (
        {path.relative_to(scenes / name): path.read_bytes() for path in (scenes / name).rglob("*") if path.is_file()}
        for name in ("one", "two")
    )
    assert one == two


def test_the_number_of_drawings_changes_what_things_look_like_and_not_which_are_where(scenes):
    one, openmoji = (json.loads((scenes / name / "train.json").read_text()) for name in ("one", "openmoji"))
    shown = [[(a["image_id"], a["category_id"]) for a in record["annotations"]] for record in (one, openmoji)]
    assert shown[0] == shown[1]
    assert all(one[key] == openmoji[key] for key in ("categories", "images"))
    longest = [[max(a["bbox"][2:]) for a in record["annotations"]] for record in (one, openmoji)]
    assert np.corrcoef(longest)[0, 1] > 0.8
    sums = [json.loads((scenes / name / "checksums.json").read_text())["pixels"] for name in ("one", "openmoji")]
    assert all(sums[0][split] != sums[1][split] for split in sums[0])


def test_the_attribution_names_every_artist_whose_drawings_are_shown(scenes, packages):
    text = (scenes / "one" / "ATTRIBUTION.md").read_text()
    for name in ARTISTS[1:]:
        info = json.loads((packages / "@iconify-json" / name / "info.json").read_text())
        assert all(part in text for part in (info["author"]["name"], info["author"]["url"], info["license"]["url"]))
    alone = (scenes / "openmoji" / "ATTRIBUTION.md").read_text()
    assert "OpenMoji" in text
    assert "OpenMoji" in alone
    assert "Noto" not in alone
