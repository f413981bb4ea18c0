"""One writer a training: a claim on its folder that no death leaves behind and no host overlooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

#: A claim of another host lapses when it has not been renewed for so long; every claimant must agree on it.
LEASE_SECONDS = 120.0
HEARTBEAT_SECONDS = 15.0
_POLL_SECONDS = 1.0


class LostClaimError(RuntimeError):
    """Another process has taken the claim over; nothing more may be written."""


class Claim:
    """The right to write a training, held until the process ends or stops renewing it."""

    def __init__(self, lease: SoftFileLease) -> None:
        self._lease = lease

    def check(self) -> None:
        """Ask the disk whether the claim is still this process's.

        A process that was stopped or cut off for longer than the lease wakes up without it.

        Raises:
            LostClaimError: it is not.
        """
        owner = self._lease.owner
        if self._lease.token is None or owner is None or owner.token != self._lease.token:
            by = f"process {owner.pid} on {owner.hostname}" if owner else "nobody"
            raise LostClaimError(
                f"expected to hold {self._lease.lock_file}, found it held by {by}: this process did not renew its "
                "claim in time and writes nothing more"
            )


@contextmanager
def claim(
    path: Path,
    *,
    wait: bool = False,
    work: str = "",
    poll: Callable[[int, str], None] = lambda pid, host: None,
    lease_seconds: float = LEASE_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> Iterator[Claim]:
    """Hold the lock file ``path`` within the block.

    The file names its holder and is touched every ``heartbeat_seconds``. On the same host the claim of a dead process
    is taken over at once (its pid is gone, or belongs to a process that started later). Of another host nothing is
    known but the heartbeat: its claim lapses when it was seen unchanged for ``lease_seconds`` of this host's own
    clock, so that clocks may differ.

    Args:
        wait: wait for a live holder to end instead of refusing.
        work: what the lock protects, for messages.
        poll: called about once a second while waiting, with the holder's pid and host; may raise.

    Raises:
        ValueError: a live process holds the lock, and ``wait`` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(
        str(path), lease_duration=lease_seconds, heartbeat_interval=heartbeat_seconds, thread_local=False
    )
    while True:
        try:
            lease.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 10)
            break
        except Timeout:
            owner = lease.owner
            if owner is None:  # it has just ended
                continue
            if not wait:
                raise ValueError(
                    f"expected {work or path} to have one writer, found process {owner.pid} on {owner.hostname} at it; "
                    "wait for it (--wait), or end it. Should it have died with its host, its claim lapses after "
                    f"{lease_seconds:.0f} s of waiting"
                ) from None
            poll(owner.pid, owner.hostname)
    try:
        yield Claim(lease)
    finally:
        lease.release()
