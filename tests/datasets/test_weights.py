"""Weights under a URL: the first download's hash holds from then on, and a page is not taken for weights."""

import json

import pytest
import torch

from gumbel.datasets import weights
from gumbel.jobs.manifest import sha256
from tests.datasets.server import serve

PAGE = b"\n<!DOCTYPE html><html><body>Sign up to see epoch_24.pth</body></html>"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with weights behind ``epoch_24.pth``, a page and the weights behind its links ``dl=0`` and ``dl=1``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "served"
    folder.mkdir()
    torch.save({"state_dict": {"a": torch.ones(3)}}, folder / "epoch_24.pth")
    (folder / "epoch_24.pth?dl=1").write_bytes((folder / "epoch_24.pth").read_bytes())
    (folder / "epoch_24.pth?dl=0").write_bytes(PAGE)
    (folder / "page.pth").write_bytes(PAGE)
    with serve(folder) as running:
        yield running


def test_the_first_download_is_recorded_and_not_repeated(server):
    url = f"{server.url}/epoch_24.pth"
    path = weights.provide(url)
    assert path == weights.path(url)
    record = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert (record["url"], record["sha256"], record["bytes"]) == (url, sha256(path), path.stat().st_size)
    weights.provide(url)
    assert len(server.requests) == 1
    path.unlink()
    weights.provide(url)
    assert sha256(path) == record["sha256"]


def test_a_later_download_of_another_file_is_refused(server):
    url = f"{server.url}/epoch_24.pth"
    path = weights.provide(url)
    first = sha256(path)
    torch.save({"state_dict": {"a": torch.zeros(3)}}, server.folder / "epoch_24.pth")
    path.unlink()
    with pytest.raises(ValueError, match=first):
        weights.provide(url)
    assert not path.exists()


def test_a_file_that_was_changed_is_refused(server):
    path = weights.provide(f"{server.url}/epoch_24.pth")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"expected .* SHA-256 .*; found .*remove it and try again"):
        weights.provide(f"{server.url}/epoch_24.pth")


def test_a_link_to_a_page_about_the_file_is_mended(server, capsys):
    url = f"{server.url}/epoch_24.pth?dl=0"
    path = weights.provide(url)
    assert [name for name, _ in server.requests] == ["/epoch_24.pth?dl=0", "/epoch_24.pth?dl=1"]
    assert sha256(path) == sha256(server.folder / "epoch_24.pth")
    assert json.loads(path.with_name(f"{path.name}.json").read_text())["url"] == url
    assert f"asking for {server.url}/epoch_24.pth?dl=1" in capsys.readouterr().out
    weights.provide(url)
    # It is known now, and not asked for
    assert len(server.requests) == 2
    path.unlink()
    weights.provide(url)
    assert sha256(path) == sha256(server.folder / "epoch_24.pth")


@pytest.mark.parametrize("content", [PAGE, b"not found", b"PK\x03\x04 half an archive"])
def test_what_is_no_weights_is_refused_with_what_to_do_and_not_kept(server, content):
    (server.folder / "page.pth").write_bytes(content)
    url = f"{server.url}/page.pth"
    with pytest.raises(ValueError, match=r"expected weights .*found .*copy it to data/weights/\w{8}-page\.pth"):
        weights.provide(url)
    assert not weights.path(url).exists()
    assert not list(weights.path(url).parent.glob("*.json"))


def test_files_of_before_torch_1_6_are_weights_too(server):
    torch.save({"a": torch.ones(3)}, server.folder / "page.pth", _use_new_zipfile_serialization=False)
    assert weights.provide(f"{server.url}/page.pth").exists()


def test_two_links_to_files_of_one_name_lie_apart_and_a_path_stays_a_path():
    one, two = (weights.path(f"https://example.org/{each}/epoch_24.pth?dl=0") for each in "ab")
    assert one != two
    assert one.name.endswith("-epoch_24.pth")
    assert not weights.is_url("data/epoch_24.pth")
    assert str(weights.path("data/epoch_24.pth")) == "data/epoch_24.pth"
