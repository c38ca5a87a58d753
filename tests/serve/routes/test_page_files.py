"""The files of the page: each at its own address, with headers that let nothing from outside in."""

from __future__ import annotations

import httpx
from starlette.testclient import TestClient
from tests.serve.running import reference, serve

from resnets.serve import application
from resnets.serve.routes.page_files import page_routes
from resnets.serve.settings import ServerSettings


def test_each_file_has_its_address_and_its_kind(client: httpx.Client) -> None:
    for route in page_routes():
        answer = client.get(route.path)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "img-src 'self' blob: data:" in policy
        assert "unsafe" not in policy
        for directive in ("frame-ancestors 'none'", "object-src 'none'", "form-action 'self'", "base-uri 'none'"):
            assert directive in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        kind = {"css": "text/css", "js": "text/javascript"}.get(route.path.rpartition(".")[2], "text/html")
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert client.post(route.path).status_code == 405


def test_it_can_be_left_out_and_needs_no_token() -> None:
    paths = [route.path for route in page_routes()]
    app = application.build([serve(reference())], ServerSettings(page=False))
    without = TestClient(app, base_url="http://localhost")
    assert [without.get(path).status_code for path in paths] == [404] * len(paths)
    app = application.build([serve(reference())], ServerSettings(token="abc"))
    guarded = TestClient(app, base_url="http://localhost")
    assert [guarded.get(path).status_code for path in paths] == [200] * len(paths)
