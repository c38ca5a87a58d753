"""How much a client may ask: rates, and large bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from tests.serve.running import images, reference, serve

from resnets.serve import application, limits
from resnets.serve.limits import BodyLimits
from resnets.serve.settings import ServerSettings

LOCAL = "http://127.0.0.1:8000"


def client(base_url: str = LOCAL, **values: Any) -> TestClient:
    app = application.build([serve(reference())], ServerSettings(**values))
    return TestClient(app, base_url=base_url, raise_server_exceptions=False)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("ok")(scope, receive, send)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_of_a_client_is_bounded() -> None:
    clock = Clock()
    limited = limits.RateLimit(answer, per_second=2.0, clock=clock)
    one, other = (TestClient(limited, client=(host, 1)) for host in ("10.0.0.1", "10.0.0.2"))
    assert [one.post("/").status_code for _ in range(4)] == [200, 200, 429, 429]
    assert other.post("/").status_code == 200
    assert one.get("/").status_code == 200  # of the page
    assert one.post("/").headers["retry-after"] == "1"
    clock.now += 0.5
    assert [one.post("/").status_code for _ in range(2)] == [200, 429]
    clock.now += 60
    assert [one.post("/").status_code for _ in range(3)] == [200, 200, 429]


def test_a_slow_rate_says_when_to_come_back() -> None:
    limited = TestClient(limits.RateLimit(answer, per_second=0.1, clock=Clock()), client=("10.0.0.1", 1))
    assert limited.post("/").status_code == 200
    assert limited.post("/").headers["retry-after"] == "10"


def test_an_ipv6_client_is_its_network_and_clients_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = limits.RateLimit(answer, per_second=1.0, clock=Clock())
    for number in range(3):
        status = TestClient(limited, client=(f"2001:db8::{number}", 1)).post("/").status_code
        assert status == (200 if number == 0 else 429)
    for number in range(2):  # IPv4 at a socket of IPv6
        assert TestClient(limited, client=(f"::ffff:10.9.0.{number}", 1)).post("/").status_code == 200
    monkeypatch.setattr(limits, "MAX_CLIENTS", 10)
    for number in range(30):
        TestClient(limited, client=(f"10.0.0.{number}", 1)).post("/")
    assert len(limited.buckets) == 10


def test_bodies_beyond_the_limit_are_refused_by_what_they_declare_and_by_what_they_have() -> None:
    given = client(max_body_bytes=1000)
    read = 0

    def chunks() -> Any:
        nonlocal read
        for _ in range(100):
            read += 100
            yield bytes(100)

    for content in (bytes(1001), chunks()):
        answered = given.post("/v1/predict", content=content)
        assert answered.status_code == 413
        assert answered.json()["error"] == "The request has more than 1,000 bytes."
    assert given.post("/v1/predict", content=bytes(1000)).status_code == 422  # read, and no image


def test_the_bodies_of_all_requests_together_are_bounded() -> None:
    async def hold(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        inside.append(bounded.used_bytes)
        await PlainTextResponse("ok")(scope, receive, send)

    inside: list[int] = []
    bounded = limits.BodyLimits(hold, 1000)
    bounded.most_bytes, bounded.used_bytes = 1500, 600  # 600 of others
    given = TestClient(bounded, raise_server_exceptions=False)
    assert given.post("/", content=bytes(900)).status_code == 200
    assert inside == [1500]
    assert given.post("/", content=bytes(901)).status_code == 500  # the application makes a 503 of the exception
    assert bounded.used_bytes == 600


def test_the_answer_to_too_many_bytes_says_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODIES_BYTES", 10)
    given = client(max_body_bytes=20)
    given.app.middleware_stack = given.app.build_middleware_stack()
    bounded: Any = given.app.middleware_stack
    while not isinstance(bounded, limits.BodyLimits):
        bounded = bounded.app
    bounded.used_bytes = 15
    refused = given.post("/v1/predict", content=bytes(10))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


class Upload:
    """A request whose body comes in the parts that the test sends."""

    def __init__(self, limits: BodyLimits) -> None:
        self.parts: asyncio.Queue[Message] = asyncio.Queue()
        scope: Scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
        self.sent: list[Message] = []
        self.task = asyncio.create_task(limits(scope, self.parts.get, self.send))

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def receive(self, size: int, more: bool = True) -> None:
        self.parts.put_nowait({"type": "http.request", "body": bytes(size), "more_body": more})
        for _ in range(20):  # until everything waits again
            await asyncio.sleep(0)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None


def test_bodies_that_arrive_slowly_give_their_memory_to_others() -> None:
    """The oldest first, and no body that has come to its end, nor one that has just begun."""
    now = 0.0

    async def read(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{len(await request.body())}")

    async def run() -> None:
        nonlocal now
        app = Starlette(routes=[Route("/", read, methods=["POST"])]).build_middleware_stack()
        limits_ = BodyLimits(app, 100, clock=lambda: now)
        limits_.most_bytes = 250
        first = Upload(limits_)
        await first.receive(90)
        now = 1.0
        second = Upload(limits_)
        await second.receive(90)
        now = limits.SLOW_SECONDS - 1
        refused = Upload(limits_)
        await refused.receive(90)
        assert (first.status, refused.status) == (None, 503)
        now = limits.SLOW_SECONDS
        third = Upload(limits_)
        await third.receive(90)
        assert (first.status, second.status, third.status) == (503, None, None)
        for each in (second, third):
            await each.receive(10, more=False)
            assert each.status == 200
        for each in (first, second, third, refused):
            await each.task
        assert (limits_.used_bytes, limits_.arriving) == (0, set())

    asyncio.run(run())


def test_requests_without_the_token_take_nothing_of_the_rate() -> None:
    with client(token="abc", requests_per_second=1.0) as given:
        sent = [given.post("/v1/predict", content=b"x").status_code for _ in range(3)]
        right = given.post("/v1/predict", content=images()[0], headers={"Authorization": "Bearer abc"})
    assert sent == [401] * 3
    assert right.status_code == 200
