"""The application as a whole: its routes, inside of another application, and with several models."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from tests import exported_files
from tests.serve.running import END_SECONDS, images, reference, serve, tiny_model

import resnets
from resnets.errors import UserError
from resnets.serve import application
from resnets.serve.routes import openapi
from resnets.serve.settings import ServerSettings
from resnets.weights.checkpoint import UNTRAINED

LOCAL = "http://127.0.0.1"
API = {
    "/v1/predict": {"POST"},
    "/v1/model": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
    "/openapi.json": {"GET", "HEAD"},
    "/v2": {"GET", "HEAD"},
    "/v2/health/live": {"GET", "HEAD"},
    "/v2/health/ready": {"GET", "HEAD"},
    "/v2/models/{name}": {"GET", "HEAD"},
    "/v2/models/{name}/ready": {"GET", "HEAD"},
    "/v2/models/{name}/infer": {"POST"},
    "/v2/models/{name}/versions/{version}": {"GET", "HEAD"},
    "/v2/models/{name}/versions/{version}/ready": {"GET", "HEAD"},
    "/v2/models/{name}/versions/{version}/infer": {"POST"},
}


def test_there_are_these_routes_and_no_other() -> None:
    """Nothing loads a model, takes one, or stops the server. What a page needs is read when the application is built."""
    app = application.build([serve(reference())], ServerSettings(page=False))
    assert {route.path: route.methods for route in app.routes if isinstance(route, Route)} == API
    assert len(app.routes) == len(API)
    page = application.build([serve(reference())], ServerSettings()).routes[len(API) :]
    assert all(isinstance(route, Route) and route.methods == {"GET", "HEAD"} for route in page)
    assert all("{" not in route.path for route in page if isinstance(route, Route))


def test_the_description_is_of_these_routes() -> None:
    described = {path: {method.upper() for method in methods} for path, methods in openapi.SCHEMA["paths"].items()}
    assert described == {path: methods - {"HEAD"} for path, methods in API.items()}
    with TestClient(application.build([serve(reference())], ServerSettings()), base_url=LOCAL) as client:
        assert client.get("/openapi.json").json() == openapi.SCHEMA


def test_it_works_inside_of_other_applications() -> None:
    """Which tell it of no start and no end; two of them know nothing of each other."""
    small = ServerSettings(max_body_bytes=10)
    outer = Starlette(routes=[
        Mount("/cats", resnets.asgi_app(tiny_model())),
        Mount("/small", resnets.asgi_app(exported_files.checkpoint_file(), small)),
    ])  # fmt: skip
    client = TestClient(outer, base_url=LOCAL)
    assert client.get("/cats/v2/health/ready").status_code in (200, 503)  # it starts the threads
    found = client.post("/cats/v1/predict", content=images()[0])
    assert found.json()["label"] == reference().predict([images()[0]])[0].label
    assert client.get("/cats/v2/health/ready").status_code == 200
    assert client.get("/cats/v1/model").json()["name"] == "model"
    assert client.post("/small/v1/predict", content=images()[0]).status_code == 413
    mounts = [route.app for route in outer.routes if isinstance(route, Mount)]
    texts = [app.state.service.batcher.metrics.text() for app in mounts if isinstance(app, Starlette)]
    assert b'code="413"' not in texts[0]
    assert b'http_requests_total{code="413",model="",route="/v1/predict"} 1.0' in texts[1]
    for app in mounts:
        assert isinstance(app, Starlette)
        app.state.service.batcher.stop()


def test_its_lifespan_starts_and_ends_the_threads() -> None:
    app = application.build([serve(reference())], ServerSettings())
    batcher = app.state.service.batcher
    with TestClient(app, base_url=LOCAL):
        assert batcher.wait_until_started(END_SECONDS)
        threads = batcher._threads
        assert all(thread.is_alive() for thread in threads)
    assert not any(thread.is_alive() for thread in threads)


def test_an_application_whose_batcher_has_ended_is_not_live() -> None:
    """So that whatever watches it starts it again: inside of another server, it cannot end the process itself."""
    model = tiny_model()

    def end(*_: object) -> None:
        raise SystemExit(3)

    app = application.build([serve(model)], ServerSettings())
    with TestClient(app, base_url=LOCAL) as client:
        assert client.post("/v1/predict", content=images()[0]).status_code == 200
        assert client.get("/v2/health/live").json() == {"live": True}
        model.model.register_forward_hook(end)
        assert client.post("/v1/predict", content=images()[0]).status_code == 503
        found = client.get("/v2/health/live")
        assert found.status_code == 503
        reason = "A thread of the server has ended by an error, which its log names."
        assert found.json() == {"live": False, "error": reason}


def test_several_models_by_name() -> None:
    app = resnets.asgi_app({"one": tiny_model(), "two": tiny_model()})
    with TestClient(app, base_url=LOCAL) as client:
        assert client.get("/v1/model").json()["name"] == "one"
        assert client.get("/v1/model?model=two").json()["name"] == "two"
        assert client.get("/v1/model?model=two").json()["models"] == ["one", "two"]
        gone = client.post("/v1/predict?model=three", content=images()[0])
        assert (gone.status_code, gone.json()) == (404, {"error": "There is no such model; there is one, two."})
        for name in ("one", "two"):
            assert client.post(f"/v1/predict?model={name}", content=images()[0]).status_code == 200
        assert 'model="two"' in client.get("/metrics").text


def test_a_last_layer_that_was_not_trained_is_refused() -> None:
    model = tiny_model()
    model.provenance["head"] = UNTRAINED
    with pytest.raises(UserError, match="not trained"):
        resnets.asgi_app(model)


@pytest.mark.parametrize(
    "path",
    [
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/page.css%00.html",
        "/C:%5cWindows%5cwin.ini",
        "/....//etc/passwd",
        "/page/..%5c..%5csettings.py",
        "/index.html/../settings.py",
        "/v1/predict/",
        "//evil.example/v1/model/",
    ],
)
def test_no_path_leads_to_another_file_or_host(path: str) -> None:
    client = TestClient(
        application.build([serve(reference())], ServerSettings()), base_url=LOCAL, follow_redirects=False
    )
    answer = client.get(path)
    assert answer.status_code in (404, 405)
    assert "root:" not in answer.text


def test_metrics_are_readable_for_prometheus() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    with TestClient(application.build([serve(reference())], ServerSettings()), base_url=LOCAL) as client:
        client.post("/v1/predict", content=images()[0])
        answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    ours = {"resnets_queue_length", "resnets_batch_size", "resnets_model_info"}
    of_all_servers = {"http_requests", "http_request_duration_seconds"}
    assert ours | of_all_servers <= names
    assert all(name.startswith(("resnets_", "http_request")) for name in names)
