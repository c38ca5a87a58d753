"""What the server counts and measures, for Prometheus, in a registry of each application."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from resnets.serve.served_model import ServedModel

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)  # images


class Metrics:
    """The metrics of one application.

    Attributes:
        requests: by route, by model and by the code of their answer. `request_seconds`: from the header of a request to the end
            of its answer. Both names are those of other servers, as https://prometheus.io/docs/practices/naming advises.
        refused: images that got no prediction, by reason: the kind of a DecodeError, "size", "queue" or "timeout".
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
