"""Who may ask, and how much: DNS rebinding, pages of other origins, tokens, rates, and large bodies."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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


@pytest.fixture(scope="module")
def plain() -> TestClient:
    return client()


HOSTS = ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8000", "[::1]", "[::1]:8000"]
FOREIGN_HOSTS = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:8000:80", "127.0.0.2",
    "0.0.0.0", "[::2]", "localhost:", "localhost:x", "localhost@evil.example", "evil.example#localhost", "", "::1",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_this_machine_are_allowed(plain: TestClient, host: str) -> None:
    assert plain.get("/v1/model", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_name_that_was_bound_to_this_machine_is_refused(plain: TestClient, host: str) -> None:
    """DNS rebinding: the page of evil.example asks evil.example, which is 127.0.0.1 now."""
    for method, path in (("GET", "/v1/model"), ("POST", "/v1/predict"), ("GET", "/v2/health/live"), ("GET", "/")):
        answer = plain.request(method, path, headers={"Host": host}, content=b"" if method == "GET" else b"secret")
        assert answer.status_code == 403
        assert "tiny" not in answer.text
        assert "secret" not in answer.text


def test_further_names_are_allowed_where_they_are_given() -> None:
    with client(allow_host=("Models.example",)) as given:
        assert given.get("/v1/model", headers={"Host": "models.example:80"}).status_code == 200
        assert given.get("/v1/model", headers={"Host": "other.example"}).status_code == 403
    assert client(allow_host=("*",)).get("/v1/model", headers={"Host": "any.example"}).status_code == 200


def ask(given: TestClient, method: str = "POST", path: str = "/v1/predict", **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    content = images()[0] if method == "POST" else None
    return given.request(method, path, headers={"Host": "127.0.0.1:8000", **names}, content=content).status_code


def test_pages_of_other_origins_are_refused(plain: TestClient) -> None:
    """A form or an image needs no CORS to send a request, so it is refused by where it comes from."""
    with plain:
        assert ask(plain) == 200  # a program
        assert ask(plain, Origin="http://127.0.0.1:8000", Sec_Fetch_Site="same-origin") == 200  # our own page
        assert ask(plain, Origin="https://evil.example", Sec_Fetch_Site="cross-site") == 403
        assert ask(plain, Origin="http://127.0.0.1:9000", Sec_Fetch_Site="same-site") == 403  # another server here
        assert ask(plain, Origin="null") == 403  # a frame without rights
        assert ask(plain, Origin="https://evil.example") == 403  # an old browser
        assert ask(plain, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
        assert ask(plain, "GET", "/v1/model", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
        assert ask(plain, "GET", "/v1/model", Sec_Fetch_Site="none", Sec_Fetch_Mode="navigate") == 200


def test_a_link_to_the_page_is_followed_and_a_form_or_frame_of_another_page_is_not(plain: TestClient) -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert ask(plain, "GET", "/v1/model", **link) == 200
    assert ask(plain, "POST", **link) == 403
    assert ask(plain, "GET", "/v1/model", **(link | {"Sec_Fetch_Dest": "iframe"})) == 403


def test_an_origin_that_is_given_may_ask_and_read() -> None:
    with client(cors=("https://Good.example",), token="abc") as given:
        asked = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
        preflight = given.options("/v1/predict", headers=asked | {"Access-Control-Request-Headers": "authorization"})
        assert preflight.status_code == 200  # it has no token, as browsers send it
        assert preflight.headers["access-control-allow-origin"] == "https://good.example"
        headers = {"Origin": "https://good.example", "Authorization": "Bearer abc", "Sec-Fetch-Site": "cross-site"}
        answer = given.post("/v1/predict", content=images()[0], headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        assert ask(given, Origin="https://evil.example", Authorization="Bearer abc") == 403
    assert "access-control-allow-origin" not in client().get("/v1/model", headers={"Origin": LOCAL}).headers


@pytest.mark.parametrize(
    "sent", [None, "", "abc", "Bearer", "Bearer ", "Bearer ab", "Bearer abcd", "Bearer ABC", "Basic abc", "Bearer äbc"]
)
def test_requests_without_the_token_are_refused(sent: str | None) -> None:
    given = client(token="abc")
    headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}
    for path in ("/v1/model", "/metrics", "/openapi.json", "/v2", "/v2/models/tiny", "/v1/gone"):
        answer = given.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    assert given.get("/v2/health/live", headers=headers).status_code == 200


def test_requests_with_the_token_are_answered() -> None:
    given = client(token="abc")
    for sent in ("Bearer abc", "bearer  abc"):
        assert given.get("/v1/model", headers={"Authorization": sent}).status_code == 200


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function that does so: measured times would depend on the machine."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(sent: bytes, token: bytes) -> bool:
        compared.append((sent, token))
        return sent == token

    monkeypatch.setattr(limits.hmac, "compare_digest", compare)
    given = client(token="abc")
    for sent in ("abd", "abc", "abcd"):
        given.get("/v1/model", headers={"Authorization": f"Bearer {sent}"})
    assert compared == [(b"abd", b"abc"), (b"abc", b"abc"), (b"abcd", b"abc")]


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


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [("/v1/model", "", "/v1/model"), ("/app/v1/model", "/app", "/v1/model"), ("/app", "/app", "/")],
)
def test_the_path_below_another_application(path: str, root: str, expected: str) -> None:
    assert limits.path_of({"path": path, "root_path": root}) == expected


HEADERS = (
    "Host",
    "Origin",
    "Sec-Fetch-Site",
    "Authorization",
    "Content-Type",
    "Content-Length",
    "X-Forwarded-For",
    "Accept",
)
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=60)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(HEADERS), TEXT, max_size=4), st.sampled_from(["GET", "POST", "PUT"]), TEXT)
def test_no_header_makes_the_server_fail(plain: TestClient, headers: dict[str, str], method: str, path: str) -> None:
    """Whatever is sent, the answer says what is wrong with it, and repeats no header."""
    sent = {name: value.strip().encode("latin-1") for name, value in headers.items()}
    answer = plain.request(method, "/" + quote(path, safe=""), headers=sent, content=b"")
    assert answer.status_code < 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    marks = [value for value in headers.values() if len(value.strip()) > 8]
    assert not any(value.strip() in str(answer.headers) for value in marks)


def test_answers_are_counted_and_timed_by_route_and_model() -> None:
    app = application.build([serve(reference(), "one"), serve(reference(), "two")], ServerSettings())
    count = app.state.service.engine.metrics.registry.get_sample_value
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as given:
        for path in (
            "/v1/model",
            "/v1/model?model=two",
            "/v2/models/two",
            "/gone",
            "/gone/2",
            "/v2/models/gone",
            "/v1/predict",
        ):
            given.get(path)
        given.post("/v1/predict?model=two", content=images()[0])
    found = {
        (route, model, code): count("http_requests_total", {"route": route, "model": model, "code": code})
        for route, model, code in (
            ("/v1/model", "one", "200"), ("/v1/model", "two", "200"), ("/v2/models/{name}", "two", "200"), ("none", "", "404"),
            ("/v2/models/{name}", "", "404"), ("/v1/predict", "", "405"), ("/v1/predict", "two", "200"),
        )
    }  # fmt: skip
    assert list(found.values()) == [1, 1, 1, 2, 1, 1, 1], found
    times = {"route": "/v1/predict", "model": "two"}
    assert count("http_request_duration_seconds_count", times) == 1
    assert count("http_request_duration_seconds_sum", times) > 0


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
