"""Fetch a file over HTTP: go on where an earlier attempt stopped, verify, and only then give the file its name.

``requests`` speaks HTTP. The kept libraries that verify and stay atomic (pooch, torch.hub) start a broken download of
19 GB from its beginning; those that resume (pypdl) write under the final name and append a server's answer unread.
"""

import os
import time
from pathlib import Path
from threading import Event

import requests
import urllib3

from gumbel.datasets.published import Download
from gumbel.jobs import manifest

#: Answers after which the same request may succeed; any other refusal is final.
PASSING = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 1 << 20
#: Seconds to wait for a connection, and for what comes over it.
CONNECT, SILENCE = 30, 60
#: Attempts in a row that bring nothing, after which it gives up; seconds before the second, and at most before another.
FAILURES, PAUSE, LONGEST_PAUSE = 8, 5, 60
#: Seconds between two lines that say how far it is.
REPORT = 10


def fetch(download: Download, path: Path, stop: Event | None = None) -> None:
    """Bring ``download`` to ``path``, unless it is there; what has arrived is kept in ``path`` + ``.part``.

    ``stop`` ends the transfer from another thread, with InterruptedError.

    Raises:
        ValueError: the server has another file or none, or the file at ``path`` is another.
        ConnectionError: the server did not answer, or ended its answers too early, too often.
    """
    if path.exists():
        verify(path, download)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    transfer = _Transfer(download, path, stop or Event())
    part = transfer.part
    resumed = part.exists()
    transfer.run()
    print(f"{path.name}: complete, computing its SHA-256", flush=True)
    if resumed and not _matches(part, download):
        part.unlink()  # what an earlier run left may have been the damaged half: once more, from the start
        transfer.run()
    try:
        verify(part, download)
    except ValueError:
        part.unlink()
        raise
    os.replace(part, path)


def verify(path: Path, download: Download) -> None:
    """Raise ValueError unless the file has the size and the SHA-256 that it should have."""
    if not _matches(path, download):
        size = "" if download.bytes is None else f"{download.bytes} bytes and "
        raise ValueError(
            f"expected {path} of {size}SHA-256 {download.sha256}; found {path.stat().st_size} bytes and "
            f"{manifest.sha256(path)}: damaged, or another file than that of {download.url}; remove it and try again"
        )


def _matches(path: Path, download: Download) -> bool:
    size = path.stat().st_size
    return download.bytes in (None, size) and manifest.sha256(path).startswith(download.sha256)


class _Unavailable(Exception):
    """The server may answer better in a while."""


class _Transfer:
    """Requests until the ``.part`` file is complete."""

    def __init__(self, download: Download, path: Path, stop: Event) -> None:
        self.download = download
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self.stop = stop
        self.total = download.bytes
        self.started = self.reported = time.monotonic()
        self.received = 0

    def run(self) -> None:
        """Ask, and ask again for the rest, until the file is complete or patience ends."""
        furthest, failures = self._size(), 0
        while not self._complete():
            try:
                self._request()
                problem = "the connection ended early"
            except (_Unavailable, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                problem = str(error)
            if self._complete():
                break
            # A server that starts over each time and fails each time brings nothing new
            failures = 0 if self._size() > furthest else failures + 1
            furthest = max(furthest, self._size())
            if failures >= FAILURES:
                raise ConnectionError(
                    f"expected {self.path.name} from {self.download.url}; found {problem}, after {failures} attempts "
                    f"that brought nothing. Run the command again to go on at {self._size()} bytes, or copy the file "
                    f"to {self.path}"
                )
            pause = min(LONGEST_PAUSE, PAUSE * 2**failures)
            print(f"{self.path.name}: {problem}; goes on at {self._size()} bytes in {pause:.0f} s", flush=True)
            self.stop.wait(pause)
            self._check_stop()

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _complete(self) -> bool:
        if self.total is not None and self._size() > self.total:
            self.part.unlink()  # left by something else: a file only grows to its size
        return self.total is not None and self._size() == self.total

    def _request(self) -> None:
        """One request for what is missing, written to disk as it comes."""
        start = self._size()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(self.download.url, headers=headers, stream=True, timeout=(CONNECT, SILENCE)) as response:
            if response.status_code in PASSING:
                raise _Unavailable(f"answer {response.status_code} {response.reason}")
            if response.status_code == 416:  # there is nothing from `start` on
                self._expect_total(response.headers.get("Content-Range", "").rpartition("/")[2])
                if start != self.total:
                    self.part.unlink()
                return
            if response.status_code not in (200, 206):
                raise ValueError(
                    f"expected {self.path.name} at {self.download.url}; found answer {response.status_code} "
                    f"{response.reason}. Copy the file to {self.path}, or try again later"
                )
            self._receive(response, start)

    def _receive(self, response: requests.Response, start: int) -> None:
        partial = response.status_code == 206
        place, _, total = response.headers.get("Content-Range", "").partition("/")
        if partial and not place.startswith(f"bytes {start}-"):
            self.part.unlink()
            raise _Unavailable(f"range {place!r} where bytes {start}- were asked for")
        self._expect_total(total if partial else response.headers.get("Content-Length", ""))
        position = start if partial else 0
        with self.part.open("ab" if partial else "wb") as file:
            # read1: what has arrived, not a full chunk, so that a break loses nothing
            while chunk := response.raw.read1(_CHUNK):
                self._check_stop()
                file.write(chunk)
                position += len(chunk)
                self.received += len(chunk)
                self._report(position)
                if self.total is not None and position > self.total:
                    raise _Unavailable(f"more than the {self.total} bytes of the file")
        if self.total is None:
            self.total = position  # neither we nor the server know better: the hash decides

    def _expect_total(self, total: str) -> None:
        """Compare the size that the server names, if it does, before anything of a wrong file is kept."""
        if not total.isdigit():
            return
        if self.total not in (None, int(total)):
            raise ValueError(
                f"expected {self.path.name} of {self.total} bytes; found {total} bytes at {self.download.url}: another "
                f"file. Copy the right one to {self.path}"
            )
        self.total = int(total)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise InterruptedError(f"{self.path.name} was stopped at {self._size()} bytes; the next run goes on there")

    def _report(self, position: int) -> None:
        now = time.monotonic()
        if now - self.reported < REPORT:
            return
        self.reported = now
        speed = self.received / (now - self.started)
        line = f"{self.path.name}: {position / 1e6:.1f} MB"
        if self.total:
            left = (self.total - position) / speed
            line += f" of {self.total / 1e6:.1f}, {position / self.total:.1%}, {left / 60:.0f} min left"
        print(f"{line}, {speed / 1e6:.1f} MB/s", flush=True)
