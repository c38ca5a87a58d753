"""Who may ask: DNS rebinding, pages of other origins, and tokens."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.in_soak import IN_SOAK
from tests.serve.running import images, reference, serve

from resnets.serve import access, application
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


def test_the_page_behind_a_proxy_may_ask_if_the_host_is_passed_on() -> None:
    """As the documentation has it for nginx: `$http_host`, with the port."""
    with client(allow_host=("models.example",)) as given:
        for port in ("", ":8443"):
            headers = {"Origin": f"https://models.example{port}", "Sec_Fetch_Site": "same-origin"}
            assert ask(given, Host=f"models.example{port}", **headers) == 200
            assert ask(given, **headers) == 403  # with the address that nginx connects to


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

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    given = client(token="abc")
    for sent in ("abd", "abc", "abcd"):
        given.get("/v1/model", headers={"Authorization": f"Bearer {sent}"})
    assert compared == [(b"abd", b"abc"), (b"abc", b"abc"), (b"abcd", b"abc")]


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [("/v1/model", "", "/v1/model"), ("/app/v1/model", "/app", "/v1/model"), ("/app", "/app", "/")],
)
def test_the_path_below_another_application(path: str, root: str, expected: str) -> None:
    assert access.path_of({"path": path, "root_path": root}) == expected


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


@settings(max_examples=150 if IN_SOAK else 60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(HEADERS), TEXT, max_size=4), st.sampled_from(["GET", "POST", "PUT"]), TEXT)
def test_no_header_makes_the_server_fail(plain: TestClient, headers: dict[str, str], method: str, path: str) -> None:
    """Whatever is sent, the answer says what is wrong with it, and repeats no header."""
    sent = {name: value.strip().encode("latin-1") for name, value in headers.items()}
    answer = plain.request(method, "/" + quote(path, safe=""), headers=sent, content=b"")
    assert answer.status_code < 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    marks = [value for value in headers.values() if len(value.strip()) > 8]
    assert not any(value.strip() in str(answer.headers) for value in marks)
