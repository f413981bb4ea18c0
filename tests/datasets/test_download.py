"""Downloads from a server that misbehaves: each ends whole or in a clear error, and nothing corrupt gets its name."""

import hashlib
import re
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gumbel.datasets.download import Download, fetch, verify
from tests.datasets.server import HASTE, IMPATIENT, Server, patience, serve

CONTENT = bytes(range(256)) * 4000  # a megabyte: several reads of the socket
PASSING = ["truncate", "stall", "reset", "503", "429", "ignore truncate", "other range", "unsized truncate", "unsized"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "file.zip").write_bytes(CONTENT)
    with serve(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(server: Server, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.faults, server.always, server.requests, server.sent = [], "well", [], 0


def wanted(server: Server, **changes) -> Download:
    facts = {"url": f"{server.url}/file.zip", "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    return Download(**{**facts, "source": "this test", **changes})


def fetch_despite(fault: str, download: Download, path: Path) -> None:
    with patience(**(IMPATIENT if fault == "stall" else HASTE)):
        fetch(download, path)


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole_in_one_request_and_leaves_nothing_else(server, tmp_path):
    fetch(wanted(server), tmp_path / "new" / "file.zip")
    assert (tmp_path / "new" / "file.zip").read_bytes() == CONTENT
    assert names(tmp_path / "new") == {"file.zip"}
    assert server.requests == [("/file.zip", None)]


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_survived(server, tmp_path, fault):
    server.faults = ["truncate", fault]
    fetch_despite(fault, wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert names(tmp_path) == {"file.zip"}


@pytest.mark.parametrize("fault", ["truncate", "stall"])
def test_after_a_broken_transfer_only_the_rest_is_asked_for(server, tmp_path, fault):
    server.faults = [fault]
    fetch_despite(fault, wanted(server), tmp_path / "file.zip")
    assert server.requests == [("/file.zip", None), ("/file.zip", f"bytes={len(CONTENT) // 2}-")]
    assert server.sent == len(CONTENT)


def test_a_server_that_always_ends_early_is_followed_to_the_end(server, tmp_path):
    """Each answer brings half of the rest: twenty of them, far more than the failures allowed in a row."""
    server.always = "truncate"
    fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert len(server.requests) > 3 * HASTE["FAILURES"]
    assert server.sent == len(CONTENT)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("503", "answer 503 Service Unavailable"),
        ("ignore truncate", "the connection ended early|IncompleteRead"),
        ("reset", "Connection aborted"),
        ("silent", "timed out"),
    ],
)
def test_a_fault_that_stays_ends_in_an_error_that_says_what_to_do(server, tmp_path, fault, found):
    server.always = fault
    with pytest.raises(ConnectionError) as error, patience(SILENCE=1, FAILURES=2):
        fetch(wanted(server), tmp_path / "file.zip")
    assert re.search(found, str(error.value))
    assert f"copy the file to {tmp_path / 'file.zip'}" in str(error.value)
    assert not (tmp_path / "file.zip").exists()


def test_patience_is_counted_in_attempts_that_bring_nothing(server, tmp_path):
    server.always = "503"
    with pytest.raises(ConnectionError, match=f"after {HASTE['FAILURES']} attempts"):
        fetch(wanted(server), tmp_path / "file.zip")
    assert len(server.requests) == HASTE["FAILURES"]


@pytest.mark.parametrize("status", ["404", "403", "401", "410"])
def test_a_final_refusal_is_not_asked_again(server, tmp_path, status):
    server.always = status
    with pytest.raises(ValueError, match=rf"found answer {status} .*\. Copy the file to {tmp_path}/file\.zip"):
        fetch(wanted(server), tmp_path / "file.zip")
    assert len(server.requests) == 1
    assert names(tmp_path) == set()


def test_a_file_of_another_size_is_refused_before_any_of_it_is_kept(server, tmp_path):
    server.always = "longer"
    with pytest.raises(ValueError, match=f"of {len(CONTENT)} bytes; found {len(CONTENT) + 4} bytes"):
        fetch(wanted(server), tmp_path / "file.zip")
    assert names(tmp_path) == set()


def test_a_wrong_file_of_the_right_size_never_gets_the_name(server, tmp_path):
    server.always = "wrong"
    with pytest.raises(ValueError, match=r"SHA-256 \w{64}; found .* damaged, or another file than that of http"):
        fetch(wanted(server), tmp_path / "file.zip")
    assert names(tmp_path) == set()


def test_a_damaged_part_of_an_earlier_run_is_thrown_away(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(b"\0" * 5000)
    fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.requests == [("/file.zip", "bytes=5000-"), ("/file.zip", None)]


def test_a_part_that_is_too_long_is_thrown_away(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT + b"!")
    fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_the_next_run_goes_on_where_the_last_one_stopped(server, tmp_path):
    server.faults, server.always = ["truncate"], "503"
    with pytest.raises(ConnectionError):
        fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip.part").read_bytes() == CONTENT[: len(CONTENT) // 2]
    server.always, server.sent = "well", 0
    fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - len(CONTENT) // 2


def test_a_file_that_is_there_is_verified_and_not_downloaded(server, tmp_path):
    (tmp_path / "file.zip").write_bytes(CONTENT)
    fetch(wanted(server), tmp_path / "file.zip")
    (tmp_path / "file.zip").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"found 4 bytes and .*; remove it and try again"):
        fetch(wanted(server), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == b"mine"
    assert not server.requests


@pytest.mark.parametrize("fault", PASSING)
def test_without_a_known_size_the_leading_digits_of_the_hash_decide(server, tmp_path, fault):
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    server.faults = [fault]
    unsized = wanted(server, bytes=None, sha256=digits)
    if fault == "unsized truncate":  # nobody knows that more should come: refused, and right the next time
        with pytest.raises(ValueError, match=f"SHA-256 {digits}; found"):
            fetch(unsized, tmp_path / "file.zip")
        assert names(tmp_path) == set()
    fetch_despite(fault, unsized, tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    with pytest.raises(ValueError, match=r"expected .* of SHA-256 00000000; found"):
        verify(tmp_path / "file.zip", wanted(server, bytes=None, sha256="00000000"))


def test_a_whole_part_of_unknown_size_is_recognised(server, tmp_path):
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    fetch(wanted(server, bytes=None), tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes() == CONTENT
    assert server.sent == 0


def test_a_stopped_transfer_keeps_what_it_has(server, tmp_path):
    stop = threading.Event()
    stop.set()
    server.faults = ["truncate"]
    with pytest.raises(InterruptedError, match="the next run goes on there"):
        fetch(wanted(server), tmp_path / "file.zip", stop)
    assert not (tmp_path / "file.zip").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(faults=st.lists(st.sampled_from([*PASSING, "404", "wrong", "longer"]).filter(lambda fault: fault != "stall")))
def test_whatever_happens_the_name_is_given_to_the_right_file_alone(server, tmp_path_factory, faults):
    path = tmp_path_factory.mktemp("any") / "file.zip"
    server.faults = list(faults)
    for _ in range(3):  # runs that follow one another
        try:
            fetch(wanted(server), path)
        except (ValueError, OSError):
            assert not path.exists()
        else:
            assert path.read_bytes() == CONTENT
    server.faults = []
    fetch(wanted(server), path)
    assert path.read_bytes() == CONTENT


def test_progress_is_reported_in_lines(server, tmp_path, capsys):
    server.faults = ["truncate"]
    with patience(REPORT=0):
        fetch(wanted(server), tmp_path / "file.zip")
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"file\.zip: 0\.\d MB of 1\.0, \d+\.\d%, \d+ min left, \d+\.\d MB/s", lines[0])
    assert any(re.search(rf"goes on at {len(CONTENT) // 2} bytes in 0 s", line) for line in lines)
    assert "100.0%" in lines[-2]
