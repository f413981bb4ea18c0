"""One writer: a claim holds against the living and gives way where its holder is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gumbel.jobs.lock import LostClaimError, claim

HOLD = "import sys, time, pathlib; from gumbel.jobs.lock import claim\n"
HOLD += "with claim(pathlib.Path(sys.argv[1]), lease_seconds=float(sys.argv[2]), heartbeat_seconds=0.1):\n"
HOLD += "    print('held', flush=True); time.sleep(float(sys.argv[3]))"


def holder(path: Path, lease: float = 120.0, seconds: float = 60.0) -> subprocess.Popen:
    """Another process that holds the claim."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(lease), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def foreign(path: Path, lease: float) -> None:
    """A claim as a process of another host leaves it, in a file of its own."""
    path.unlink(missing_ok=True)
    path.write_text(f"filelock/2\npid={os.getpid()}\nhost=node7\nmode=lease\ntoken=ab\nduration={lease!r}\nstart=1\n")


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path):
    first = holder(tmp_path / "lock")
    try:
        with (
            pytest.raises(ValueError, match=rf"one writer, found process {first.pid} on .*--wait"),
            claim(tmp_path / "lock", work="the training x"),
        ):
            pass
    finally:
        first.kill()
        first.communicate()


def test_the_claim_of_a_dead_process_of_this_host_is_taken_over_at_once(tmp_path):
    first = holder(tmp_path / "lock")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (tmp_path / "lock").exists()
    started = time.monotonic()
    with claim(tmp_path / "lock") as held:
        held.check()
    assert time.monotonic() - started < 1
    assert not (tmp_path / "lock").exists()


def test_a_writer_that_waits_goes_on_when_the_first_has_ended(tmp_path):
    first = holder(tmp_path / "lock", seconds=2.5)
    waited_for = []
    with claim(tmp_path / "lock", wait=True, poll=lambda pid, host: waited_for.append(pid)) as held:
        held.check()
        assert first.wait(timeout=5) == 0
    first.communicate()
    assert set(waited_for) == {first.pid}


def test_another_hosts_claim_stands_until_it_is_seen_without_a_heartbeat_for_the_lease(tmp_path):
    foreign(tmp_path / "lock", 1.5)
    os.utime(tmp_path / "lock", (0, 0))  # an old time stamp proves nothing: clocks differ
    with (
        pytest.raises(ValueError, match="on node7"),
        claim(tmp_path / "lock", lease_seconds=1.5, heartbeat_seconds=0.1),
    ):
        pass
    started = time.monotonic()
    with claim(tmp_path / "lock", wait=True, lease_seconds=1.5, heartbeat_seconds=0.1) as held:
        held.check()
    assert time.monotonic() - started > 1


def test_another_hosts_claim_that_is_renewed_is_never_taken(tmp_path):
    foreign(tmp_path / "lock", 2.0)
    polls = []

    def beat(pid: int, host: str) -> None:
        polls.append(host)
        os.utime(tmp_path / "lock")
        if len(polls) == 4:
            raise KeyboardInterrupt

    # The waiting process polls about once a second; here it also plays the other host's heartbeat
    with (
        pytest.raises(KeyboardInterrupt),
        claim(tmp_path / "lock", wait=True, lease_seconds=2.0, heartbeat_seconds=0.1, poll=beat),
    ):
        pass
    assert polls == ["node7"] * 4


def test_a_process_that_was_stopped_past_its_lease_wakes_up_without_its_claim(tmp_path):
    """A suspended host's training must not write beside the one that replaced it."""
    with claim(tmp_path / "lock", heartbeat_seconds=60) as held:
        held.check()
        foreign(tmp_path / "lock", 120.0)
        with pytest.raises(LostClaimError, match=r"held by process .* on node7"):
            held.check()
    assert "host=node7" in (tmp_path / "lock").read_text(), "the other's claim is not released"
