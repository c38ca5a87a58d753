"""A server on this machine that serves files with ranges, and can cut off, redirect or refuse."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

# What would send a request elsewhere, or refuse it.
VARIABLES = (
    "RESNETS_OFFLINE",
    "RESNETS_MIRROR",
    "HF_ENDPOINT",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files` with ranges, unless one of `server.plan` says what to do with this request."""

    server: Any

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers)))
            act = self.server.plan.pop(0) if self.server.plan else self.server.always
        act(self)

    def log_message(self, *_: Any) -> None:
        pass


def whole(handler: Any, *, ranges: bool = True, cut: int | None = None, etag: str = '"one"', rate: float = 0.0) -> None:
    """Answer with the file, or the rest of it; `cut` ends the connection after so many bytes of the file."""
    content = handler.server.files[handler.path]
    wanted = handler.headers.get("Range")
    fresh = handler.headers.get("If-Range") in (None, etag)
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if ranges and wanted and fresh else 0
    if start and start >= len(content):
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if etag:
        handler.send_header("ETag", etag)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    end = len(content) if cut is None else cut
    with contextlib.suppress(ConnectionError):
        for first in range(start, end, 2**16):
            handler.wfile.write(content[first : min(first + 2**16, end)])
            if rate:
                time.sleep(rate)
    if cut is not None:
        handler.wfile.flush()
        handler.close_connection = True


def act(**changes: Any) -> Callable[[Any], None]:
    return lambda handler: whole(handler, **changes)


def status(code: int, **headers: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@contextlib.contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Any]:
    """The server: `url`, `asked` (path and headers of each request), `plan` of the next answers, and what it does `always`."""
    found: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.files, found.plan, found.asked, found.always = dict(files), [], [], whole
    found.lock = threading.Lock()
    found.url = f"http://127.0.0.1:{found.server_address[1]}"
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables that would send a request elsewhere."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
