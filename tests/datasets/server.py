"""A web server on this machine that serves a folder, and misbehaves as it is told."""

import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

from gumbel.datasets import download

#: Hardly any pause; silence is long, for a machine that is busy.
HASTE = {"SILENCE": 30, "FAILURES": 3, "PAUSE": 0.01, "LONGEST_PAUSE": 0.02, "REPORT": 60}
#: For faults that are silence. Answers that a busy machine gives too late are asked for again.
IMPATIENT = {"SILENCE": 1, "FAILURES": 20}


def patience(**settings: float) -> AbstractContextManager[object]:
    """Within the block downloads have these settings."""
    return mock.patch.multiple(download, **settings)


@dataclass
class Server:
    """``faults`` are used up, one a request; ``always`` comes after them, for every further request."""

    folder: Path
    url: str = ""
    faults: list[str] = field(default_factory=list)
    always: str = "well"
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    server = Server(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, self.headers["Range"]))
            _answer(self, server, server.faults.pop(0) if server.faults else server.always)
            self.close_connection = True

        def log_message(self, *arguments: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with patience(**HASTE):
            yield server
    finally:
        server.over.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, server: Server, fault: str) -> None:
    """What a request gets. ``unsized`` and ``unsized truncate`` name no length, as a proxy may."""
    path = server.folder / handler.path.lstrip("/")
    if fault.isdigit() or not path.is_file():
        handler.send_error(int(fault) if fault.isdigit() else 404)
        return
    if fault == "silent":
        server.over.wait(20)
    if fault in ("silent", "reset"):
        return
    content = path.read_bytes()
    if fault == "wrong":
        content = bytes(255 - byte for byte in content)
    if fault == "longer":
        content += b"more"
    start, total = 0, len(content)
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    if asked and "ignore" not in fault:
        start = int(asked[1])
        if start >= total:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{total}")
            handler.end_headers()
            return
        handler.send_response(206)
        named = 0 if fault == "other range" else start
        handler.send_header("Content-Range", f"bytes {named}-{total - 1}/{total}")
    else:
        handler.send_response(200)
    if "unsized" not in fault:
        handler.send_header("Content-Length", str(total - start))
    handler.end_headers()
    body = content[start:]
    if "truncate" in fault or fault == "stall":
        body = body[: max(1, len(body) // 2)]
    server.sent += len(body)  # before the client can know that it has everything
    handler.wfile.write(body)
    handler.wfile.flush()
    if fault == "stall":
        server.over.wait(20)
