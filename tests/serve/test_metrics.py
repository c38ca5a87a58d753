"""What is counted of requests."""

from __future__ import annotations

from starlette.testclient import TestClient
from tests.serve.running import images, reference, serve

from resnets.serve import application
from resnets.serve.settings import ServerSettings

LOCAL = "http://127.0.0.1:8000"


def test_answers_are_counted_and_timed_by_route_and_model() -> None:
    app = application.build([serve(reference(), "one"), serve(reference(), "two")], ServerSettings())
    count = app.state.service.batcher.metrics.registry.get_sample_value
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
