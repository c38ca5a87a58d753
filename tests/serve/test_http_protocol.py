"""Slow clients, large bodies and broken requests, by raw sockets; each wait is for what the server does."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.serve.running import END_SECONDS, images, reference, running, serve

from resnets.serve import http_protocol
from resnets.serve.http_protocol import RATE_BYTES, RATE_SECONDS, DeadlineProtocol
from resnets.serve.limits import BodyLimits
from resnets.serve.run import ModelServer
from resnets.serve.settings import ServerSettings

HEADER_SECONDS, MAX_BYTES = 1.0, 100_000
HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, ModelServer]]:
    """One whose deadlines are beyond what a busy machine takes."""
    settings = ServerSettings(header_seconds=END_SECONDS, body_seconds=END_SECONDS, max_body_bytes=MAX_BYTES)
    with running([serve(reference())], settings) as found:
        yield found


def connect(server: tuple[str, ModelServer]) -> socket.socket:
    port = int(server[0].rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=END_SECONDS)


def received(client: socket.socket) -> bytes:
    """All that the server sends until it closes the connection, in which way ever."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_slow_headers_are_closed_and_the_others_answered_meanwhile() -> None:
    """A byte now and then does not move the deadline."""
    with running([serve(reference())], ServerSettings(header_seconds=HEADER_SECONDS)) as server:
        close_slow_ones(server)


def close_slow_ones(server: tuple[str, ModelServer]) -> None:
    start = time.monotonic()
    slow = [connect(server) for _ in range(20)]
    for number, client in enumerate(slow):
        client.sendall([b"", b"GET", b"GET /v1/model HTTP/1.1\r\n" + HOST + b"X: y"][number % 3])
    assert httpx.post(f"{server[0]}/v1/predict", content=images()[0], timeout=END_SECONDS).status_code == 200
    open_ones = list(slow)
    while open_ones:
        for client in list(open_ones):
            try:
                client.sendall(b"z")
                client.settimeout(0.02)
                if client.recv(1) == b"":
                    open_ones.remove(client)
            except TimeoutError:
                continue
            except OSError:
                open_ones.remove(client)
        assert time.monotonic() - start < END_SECONDS
    assert time.monotonic() - start >= HEADER_SECONDS


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_beyond_the_limit_is_answered_and_closed(server: tuple[str, ModelServer], declared: bool) -> None:
    """Soon after the limit, and after the answer could be read; uvicorn alone would read on."""
    many = 8_000_000
    head = b"POST /v1/predict HTTP/1.1\r\n" + HOST
    head += f"Content-Length: {many}\r\n\r\n".encode() if declared else b"Transfer-Encoding: chunked\r\n\r\n"
    sent = 0
    with connect(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        client.sendall(head)
        try:
            while sent < many:
                client.sendall(bytes(10_000) if declared else b"2710\r\n" + bytes(10_000) + b"\r\n")
                sent += 10_000
        except OSError:
            pass
        assert sent < many
    with connect(server) as client:  # one that stops at the answer, as most do
        client.sendall(head + (b"" if declared else b"186a1\r\n" + bytes(100_001) + b"\r\n"))
        answer = received(client)
    assert status(answer) == 413
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "The request has more than 100,000 bytes."


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 100_000, 400),
        (b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 403),
        (b"GET /v1/model\nX: y HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused(server: tuple[str, ModelServer], request_: bytes, code: int) -> None:
    with connect(server) as client:
        client.sendall(request_)
        assert status(received(client)) == code
    assert httpx.get(f"{server[0]}/v2/health/live", timeout=END_SECONDS).status_code == 200


def test_a_client_that_takes_no_answer_is_closed(
    server: tuple[str, ModelServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks on and on, and its answers fill all buffers on the way."""
    monkeypatch.setattr(http_protocol, "SEND_SECONDS", 0.5)
    request = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(END_SECONDS)
        client.connect(("127.0.0.1", int(server[0].rpartition(":")[2])))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_on(client, request * 100)
    assert httpx.get(f"{server[0]}/v2/health/live", timeout=END_SECONDS).status_code == 200


def send_on(client: socket.socket, content: bytes) -> None:
    while True:
        client.sendall(content)


def test_requests_that_come_together_are_answered_in_order(server: tuple[str, ModelServer]) -> None:
    one = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n"
    other = b"GET /gone HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    with connect(server) as client:
        client.sendall(one + one + other)
        answers = received(client).split(b"HTTP/1.1 ")[1:]
    assert [int(answer[:3]) for answer in answers] == [200, 200, 404]


def test_a_client_that_hangs_up_takes_nothing_with_it(server: tuple[str, ModelServer]) -> None:
    for body in (b"", b"12345"):
        with connect(server) as client:
            client.sendall(b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n" + body)
    assert httpx.post(f"{server[0]}/v1/predict", content=images()[0], timeout=END_SECONDS).status_code == 200


def test_no_banner_and_no_keep_alive_without_end(server: tuple[str, ModelServer]) -> None:
    answer = httpx.get(f"{server[0]}/v1/model", timeout=END_SECONDS)
    assert not {"server", "x-powered-by"} & set(answer.headers)


def test_a_request_has_a_length_or_chunks_and_not_both(server: tuple[str, ModelServer]) -> None:
    """What follows is no second request, whichever of the two a proxy goes by."""
    with connect(server) as client:
        head = b"POST /v1/predict HTTP/1.1\r\n" + HOST + b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"0\r\n\r\nGET /v1/model HTTP/1.1\r\n" + HOST + b"\r\n")
        answers = received(client)
    assert status(answers) == 400
    assert answers.count(b"HTTP/1.1 ") == 1


def test_a_second_request_may_begin_before_the_first_is_answered(server: tuple[str, ModelServer]) -> None:
    content = images()[0]
    request = b"POST /v1/predict HTTP/1.1\r\n" + HOST + f"Content-Length: {len(content)}\r\n\r\n".encode() + content
    with connect(server) as client:
        client.sendall(request + request[:-5])
        answers = client.recv(65536)
        client.sendall(request[-5:] + b"GET /v1/model HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        answers += received(client)
    assert answers.count(b"HTTP/1.1 200") == 3


class ManualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock the test moves."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Peer:
    """The client's end of a connection to an application that reads bodies; its socket never waits."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.loop: ManualLoop = asyncio.get_running_loop()  # type: ignore[assignment]
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)

    async def connect(self) -> Peer:
        async def read(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"{len(await request.body())} bytes")

        limits = [Middleware(BodyLimits, MAX_BYTES)]  # type: ignore[arg-type]
        app = Starlette(routes=[Route("/", read, methods=["POST", "HEAD"])], middleware=limits)
        config = uvicorn.Config(app, log_config=None, access_log=False)
        state = uvicorn.server.ServerState()
        await self.loop.connect_accepted_socket(
            lambda: DeadlineProtocol(self.settings, config=config, server_state=state, app_state={}), self._theirs
        )
        return self

    async def send(self, content: bytes) -> None:
        """Send all of it, which the server takes meanwhile."""
        while content:
            try:
                content = content[self.socket.send(content) :]
            except BlockingIOError:
                await settle()
        await settle()

    async def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        await settle()

    @property
    def hears_nothing(self) -> bool:
        """Whether the server has neither sent anything nor closed the connection."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def read(self) -> bytes:
        """What the server has sent."""
        return self.socket.recv(65536)

    async def received(self) -> bytes:
        """All that the server sends until it closes; a reset is an error."""
        parts = []
        while True:
            try:
                part = self.socket.recv(65536)
            except BlockingIOError:
                await settle()
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)


async def settle() -> None:
    """Let the loop do all that can be done at this time."""
    for _ in range(20):
        await asyncio.sleep(0)


def on_manual_clock(test: Callable[[Peer], Coroutine[Any, Any, None]], **settings: float) -> None:
    async def run() -> None:
        peer = await Peer(ServerSettings(**settings)).connect()  # type: ignore[arg-type]
        try:
            await test(peer)
        finally:
            peer.socket.close()
            await settle()

    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        runner.run(run())


def head(length: int, *more: bytes, to: bytes = b"/") -> bytes:
    return b"POST " + to + b" HTTP/1.1\r\n" + HOST + b"".join(more) + f"Content-Length: {length}\r\n\r\n".encode()


async def send_at_least_rate(peer: Peer) -> None:
    """Until the server closes the connection."""
    while True:
        await peer.send(bytes(RATE_BYTES))
        await peer.wait(RATE_SECONDS)


def test_a_body_that_trickles_is_closed_before_the_deadline_of_bodies() -> None:
    """And its client is told so."""

    async def trickle(peer: Peer) -> None:
        await peer.send(head(MAX_BYTES) + bytes(2 * RATE_BYTES))
        while peer.hears_nothing:
            await peer.send(b"x")
            await peer.wait(1)
        assert peer.loop.now == RATE_SECONDS
        answer = await peer.received()
        assert status(answer) == 408
        error = "5,000 bytes of the body did not arrive within 5 s."
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": error}
        await peer.wait(RATE_SECONDS)
        with pytest.raises(BrokenPipeError):
            peer.socket.send(b"x")

    on_manual_clock(trickle)


def test_the_body_of_a_request_whose_answer_has_none() -> None:
    async def stop(peer: Peer) -> None:
        await peer.send(head(MAX_BYTES).replace(b"POST", b"HEAD"))
        await peer.wait(RATE_SECONDS)
        assert peer.read() == b""  # closed

    on_manual_clock(stop)


def test_a_connection_waits_between_two_requests_for_longer_than_a_header_may_take() -> None:
    """Deadlines are of what the client sends."""

    async def ask_twice(peer: Peer) -> None:
        for _ in range(2):
            await peer.send(head(5)[:20])
            await peer.send(head(5)[20:] + b"12345")
            assert status(peer.read()) == 200
            await peer.wait(4)
            assert peer.hears_nothing
        await peer.wait(1)  # uvicorn closes a connection that is idle for 5 seconds
        assert peer.read() == b""

    on_manual_clock(ask_twice, header_seconds=3.0)


def test_a_body_at_the_least_rate_is_read_until_the_deadline() -> None:
    async def send_slowly(peer: Peer) -> None:
        total = 5 * RATE_BYTES
        await peer.send(head(total))
        for _ in range(4):
            await peer.send(bytes(RATE_BYTES))
            await peer.wait(RATE_SECONDS)
        await peer.send(bytes(RATE_BYTES))
        await peer.wait(60)  # it has come to its end: this is no time of the client's
        answer = await peer.received()
        assert (status(answer), answer.partition(b"\r\n\r\n")[2]) == (200, f"{total} bytes".encode())

    async def go_on(peer: Peer) -> None:
        await peer.send(head(MAX_BYTES))
        while peer.hears_nothing:
            await peer.send(bytes(RATE_BYTES))
            await peer.wait(RATE_SECONDS)
        assert peer.loop.now == peer.settings.body_seconds
        answer = await peer.received()
        assert status(answer) == 408
        error = f"The body did not arrive within {peer.settings.body_seconds:g} s."
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": error}

    on_manual_clock(send_slowly)
    on_manual_clock(go_on)
    on_manual_clock(go_on, body_seconds=45.0)


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n", b"Expect: 100-continue\r\n"])
def test_a_client_that_reads_only_after_it_has_sent_all_is_told_that_it_was_too_much(more: bytes) -> None:
    """As browsers do. Its system would throw the answer away if the connection was closed while it sends."""

    async def send_all(peer: Peer) -> None:
        await peer.send(head(MAX_BYTES + 1, more) + bytes(10))
        for _ in range(3):
            await peer.wait(0.9 * RATE_SECONDS)
            await peer.send(bytes(MAX_BYTES // 3))
        assert status(await peer.received()) == 413

    on_manual_clock(send_all)


def test_a_client_that_goes_on_after_what_is_no_request_is_told_so() -> None:
    async def send_all(peer: Peer) -> None:
        await peer.send(b"hello\r\n\r\n")
        await peer.send(bytes(100_000))
        assert status(await peer.received()) == 400

    on_manual_clock(send_all)


def test_what_a_refused_client_sends_on_has_an_end() -> None:
    """Of bytes, of time, and of waiting."""

    async def send_on(peer: Peer) -> None:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await peer.send(head(10**9) + bytes(4 * http_protocol.LEFT_BYTES))

    async def send_slowly(peer: Peer) -> None:
        await peer.send(head(10**9))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await send_at_least_rate(peer)
        assert peer.loop.now == ServerSettings.body_seconds

    async def send_nothing(peer: Peer) -> None:
        await peer.send(head(10**9))
        await peer.wait(RATE_SECONDS)
        with pytest.raises(BrokenPipeError):
            peer.socket.send(b"x")

    for test in (send_on, send_slowly, send_nothing):
        on_manual_clock(test)


@pytest.mark.parametrize(
    "sent", [b"", head(10, to=b"/v1/predict"), b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n"]
)
def test_of_too_many_connections_the_oldest_that_awaits_its_client_is_closed(
    server: tuple[str, ModelServer], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Whether the client is silent, sends slowly, or keeps its connection after an answer."""
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 4)
    connections = server[1].server_state.connections
    while connections:  # of the tests before
        time.sleep(0.001)
    others = []
    for number in range(4):
        others.append(client := connect(server))
        client.sendall(sent)
        if sent.startswith(b"GET"):
            answer = b""
            while not answer.endswith(b"true}"):
                part = client.recv(65536)
                assert part
                answer += part
        phase = {b"": "header", b"P": "body", b"G": None}[sent[:1]]
        while [each._phase for each in connections] != [phase] * (number + 1):  # until the server has read it
            time.sleep(0.001)
        own: Any = next(each for each in connections if each.client == client.getsockname())
        own._since = float(number)  # a coarse clock may not tell them apart
    assert httpx.post(f"{server[0]}/v1/predict", content=images()[0], timeout=END_SECONDS).status_code == 200
    assert received(others[0]) == b""
    for client in others:
        client.close()
