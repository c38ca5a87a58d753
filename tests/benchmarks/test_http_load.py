"""The client of the server's benchmark: each request is answered once, and waiting counts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import http_load
import pytest


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers["Content-Type"], body))  # type: ignore[attr-defined]
        self.send_response(500 if body == b"fail" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as found:
        found.received = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def request_to(server: ThreadingHTTPServer, body: bytes) -> http_load.Request:
    return http_load.Request(server.server_port, "/predict", "image/jpeg", body)


def test_a_closed_loop_counts_each_answer(server) -> None:
    load = asyncio.run(
        http_load.closed_loop([request_to(server, b"1"), request_to(server, b"2")], connections=3, seconds=0.1)
    )
    assert len(server.received) == len(load.latencies_seconds)
    assert set(server.received) == {("/predict", "image/jpeg", body) for body in (b"1", b"2")}
    assert load.rate == len(server.received) / load.seconds


def test_random_moments_are_those_of_the_seed_and_each_is_answered(server) -> None:
    load = asyncio.run(http_load.at_random_moments([request_to(server, b"x" * 70_000)], rate=1000, number=40))
    assert len(server.received) == 40
    assert list(load.latencies_seconds) == sorted(load.latencies_seconds)
    assert load.percentile(0) <= load.percentile(50) <= load.percentile(99) == load.latencies_seconds[39]


def test_another_status_ends_the_measurement(server) -> None:
    with pytest.raises(RuntimeError, match="500"):
        asyncio.run(http_load.closed_loop([request_to(server, b"fail")], connections=1, seconds=0.1))
