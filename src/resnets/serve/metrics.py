"""What the server counts and measures, for Prometheus, in a registry of each application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from resnets.serve.served_model import ServedModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)  # images
MODEL = "resnets.model"  # in the scope of a request: the name of the model that it is for


class Metrics:
    """The metrics of one application.

    Attributes:
        requests: by route, by model and by the code of their answer. `request_seconds`: from the header of a request to the end
            of its answer. Both names are those of other servers, as https://prometheus.io/docs/practices/naming advises.
        refused: images that got no prediction, by reason: the kind of a DecodeError, "size", "queue" or "timeout".
        top_probability: of the most probable class of a classifier, by model; where its mean over an hour falls, the images may
            have become others than those that the model was trained on.
        batch_size: images computed together.
        decode_seconds: of one image; queue_seconds: from its arrival to the start of its batch; compute_seconds: of a batch.
    """

    def __init__(self, models: Iterable[ServedModel], queue_length: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        labels = ["route", "model", "code"]
        self.requests = Counter("http_requests", "Answered requests.", labels, registry=self.registry)
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "From the header of a request to the end of its answer.",
            labels[:2],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "resnets_images_refused", "Images without a prediction.", ["reason"], registry=self.registry
        )
        self.top_probability = Histogram(
            "resnets_top_probability",
            "Probability of the most probable class.",
            ["model"],
            buckets=PROBABILITIES,
            registry=self.registry,
        )
        self.batch_size = self._histogram("resnets_batch_size", "Images computed together.", BATCHES)
        self.decode_seconds = self._histogram("resnets_decode_seconds", "Decoding of an image.", SECONDS)
        self.queue_seconds = self._histogram("resnets_queue_seconds", "From arrival to computing.", SECONDS)
        self.compute_seconds = self._histogram("resnets_compute_seconds", "Computing of a batch.", SECONDS)
        waiting = Gauge("resnets_queue_length", "Images that wait or are computed.", registry=self.registry)
        waiting.set_function(queue_length)
        info = Gauge("resnets_model_info", "1 for each model.", ["model", "task", "sha256"], registry=self.registry)
        for each in models:
            info.labels(each.name, each.model.task.name, each.sha256).set(1)

    def _histogram(self, name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, description, buckets=buckets, registry=self.registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class CountAnswers:
    """Counts and times the answers, and adds the header that keeps browsers from guessing what an answer is."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Sequence[Route]) -> None:
        self.app, self.metrics, self.routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        code, start = 0, time.monotonic()

        async def send_counted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        finally:
            labels = self._route(scope), scope.get(MODEL, "")
            self.metrics.requests.labels(*labels, code or 500).inc()  # which the server adds where there is no answer
            self.metrics.request_seconds.labels(*labels).observe(time.monotonic() - start)

    def _route(self, scope: Scope) -> str:
        """The path of the route, as it was declared: addresses of no route, which clients make up, are counted together."""
        return next((route.path for route in self.routes if route.matches(scope)[0] is not Match.NONE), "none")
