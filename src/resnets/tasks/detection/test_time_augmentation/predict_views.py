"""Predictions and measurements of detectors that are given several views of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

from resnets.data.datasets.dataset import Sample
from resnets.errors import UserError
from resnets.inference.model_runner import computed_by
from resnets.models.detection.suppression import with_method
from resnets.progress import progress_bar
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.test_time_augmentation.detect_in_views import ViewDetector, detect_in_views
from resnets.tasks.detection.test_time_augmentation.image_views import Views
from resnets.tasks.inputs import unread_images
from resnets.tasks.measurements import Measurements, concatenate_readable
from resnets.tasks.trained_model import TrainedModel

Size = tuple[int, int]  # height and width


def with_nms(model: TrainedModel, nms: str) -> TrainedModel:
    """The model with a detector that suppresses overlapping boxes by `nms`; itself if it does so already."""
    return model if nms == model.model.nms else model.with_network(with_method(model.model, nms))


def describe_views(models: Sequence[TrainedModel], views: Views) -> str:
    """How an image is presented to the models, in words."""
    inputs = [model.describe_input() for model in models] if views.is_single else [str(views)]
    return " and ".join(dict.fromkeys(inputs)) + (", weighted boxes fusion" if len(models) > 1 else "")


def predict_views(
    models: Sequence[TrainedModel],
    images: Iterable[Any],
    views: Views,
    report: Callable[[str, Detections, Size], Any],
    *,
    batch: int,
    workers: int | None,
) -> Iterator[Any]:
    """The prediction for each image: that of `report` for its path, its objects and its size."""
    count = len(images) if isinstance(images, Sized) else None
    detectors = [ViewDetector(model, views, batch=batch, count=count) for model in models]
    for name, found, size, error in detect_in_views(detectors, images, workers=workers):
        if found is None or size is None:
            yield models[0].task.unreadable(name, error or "")
        else:
            yield report(name, found, size)


def measure_views(
    models: Sequence[TrainedModel],
    samples: Sequence[Sample],
    views: Views,
    measure: Callable[[Detections, Size, Sample], Measurements],
    *,
    batch: int,
    workers: int | None,
    on_bad: str,
) -> tuple[Measurements, dict[str, str]]:
    """As `TrainedModel.measure`; `measure` gives the measurements of one image."""
    if not samples:
        raise UserError("There are no images to evaluate on.")
    detectors = [ViewDetector(model, views, batch=batch, count=len(samples), precision="fp32") for model in models]
    errors: dict[int, str] = {}
    measured: list[Measurements] = []
    images = detect_in_views(detectors, [sample.path for sample in samples], workers=workers)
    images = progress_bar(images, description="evaluating", total=len(samples), unit="images")
    for index, (sample, (_, found, size, error)) in enumerate(zip(samples, images, strict=True)):
        if found is None or size is None:
            errors[index] = error or ""
        else:
            measured.append(measure(found, size, sample))
    unread_images.report_samples(samples, errors, on_bad)
    jobs = [each.job for each in detectors if each.job is not None]
    return concatenate_readable(measured, errors, len(samples)), computed_by(jobs)
