"""The predictions of one network, or of an ensemble, for the samples of a dataset."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError, UserError
from resnets.inference.model_runner import OutputsJob, computed_by
from resnets.progress import progress_bar
from resnets.tasks.classification import test_time_augmentation
from resnets.tasks.classification.class_indices import class_indices
from resnets.tasks.classification.prediction_set import Predictions, average, log_softmax
from resnets.tasks.inputs import unread_images
from resnets.tasks.inputs.batching import Prepared, check_options, chunks
from resnets.tasks.inputs.class_orders import class_orders
from resnets.tasks.trained_model import TrainedModel, check_finite


def predict_samples(
    classifiers: Sequence[TrainedModel],
    samples: Sequence[Sample],
    *,
    batch: int = 32,
    workers: int | None = None,
    crops: int = 1,
    scales: Sequence[int] = (),
    on_bad: str = "error",
) -> Predictions:
    """The predictions of a classifier, or of several as an ensemble, for each sample, each counted once.

    Args:
        classifiers: with the same classes, in any order; the result has the order of the first one's.
        samples: images, with or without labels.
        batch: number of views that go through a network together.
        workers: number of threads that read images; None for one per processor, 0 for none of their own.
        crops: 1, or 6 or 10 crops of each image.
        scales: instead of crops, the shorter sides in pixels of whole images; see `test_time_augmentation`.
        on_bad: "error", or "skip" to leave unreadable images out and log them.

    Returns:
        Logits and temperature where there is one classifier and one view; else the logarithm of the mean of the
        probabilities, and a temperature of 1.

    Raises:
        UserError: the classes differ, a label is unknown, or the views do not fit the network.
        JobError: images cannot be read; all of them are named.
    """
    check_options(batch, workers, on_bad)
    if not samples:
        raise UserError("There are no images to evaluate on.")
    orders = class_orders(classifiers)
    true = class_indices(samples, classifiers[0].class_names)
    prepare = partial(_prepare, classifiers, crops, scales)
    size = max(batch // test_time_augmentation.num_views(crops, scales), 1)
    size = min(each.limit_batch(size) for each in classifiers)
    of_one_size = 1 if scales else crops  # views
    count = len(samples) * of_one_size
    jobs = [each.runner.job(count, size * of_one_size, precision="fp32") for each in classifiers]
    prepared = ordered_map(prepare, samples, workers=workers, ahead=2 * size)
    readable_indices: list[int] = []
    errors: dict[int, str] = {}
    rows = [np.empty((0, len(orders[0])), dtype=np.float32)]
    index = 0
    for chunk in chunks(progress_bar(prepared, description="evaluating", total=len(samples), unit="images"), size):
        for entry in chunk:
            if entry.error is None:
                readable_indices.append(index)
            else:
                errors[index] = entry.error
            index += 1
        readable = [entry for entry in chunk if entry.error is None]
        if readable:
            rows.append(_predict_chunk(classifiers, jobs, orders, readable, test_time_augmentation.view_weights(crops)))
    unread_images.report_samples(samples, errors, on_bad)
    plain = len(classifiers) == test_time_augmentation.num_views(crops, scales) == 1
    return Predictions(
        paths=tuple(samples[index].path for index in readable_indices),
        true=true[readable_indices],
        logits=np.concatenate(rows),
        class_names=classifiers[0].class_names,
        temperature=temperature_of(classifiers[0]) if plain else 1.0,
        skipped=tuple(samples[index].path for index in errors),
        **computed_by(jobs),
    )


def temperature_of(model: TrainedModel) -> float:
    """The number that divides the logits of a classifier before the softmax."""
    return float(model.task.fitted.get("temperature", 1.0))


def _prepare(classifiers: Sequence[TrainedModel], crops: int, scales: Sequence[int], sample: Sample) -> Prepared:
    """Read the image once for each different preprocessing."""
    views: dict[Preprocess, list[Tensor]] = {}
    try:
        for classifier in classifiers:
            preprocess = classifier.preprocess
            if preprocess not in views:
                views[preprocess] = test_time_augmentation.make_views(preprocess, sample.path, crops, scales)
            for view in views[preprocess]:
                classifier.check_size(view)
    except ImageError as error:
        return Prepared(sample.path, [], error.reason)
    return Prepared(sample.path, [views[classifier.preprocess] for classifier in classifiers])


def _predict_chunk(
    classifiers: Sequence[TrainedModel],
    jobs: Sequence[OutputsJob],
    orders: Sequence[list[int]],
    entries: list[Prepared],
    weights: Sequence[float] | None,
) -> np.ndarray:
    """float32 (N, K) for N readable images: plain logits, or the log of the mean probabilities."""
    outputs = []
    for which, (classifier, order) in enumerate(zip(classifiers, orders, strict=True)):
        views = [view for entry in entries for view in entry.inputs[which]]
        logits = classifier.outputs(views, jobs[which])
        num_views = len(views) // len(entries)
        for position, entry in enumerate(entries):
            check_finite(logits[position * num_views : (position + 1) * num_views], entry.name)
        outputs.append(logits.numpy().reshape(len(entries), num_views, -1)[:, :, order])
    if len(outputs) == 1 and outputs[0].shape[1] == 1:
        return outputs[0][:, 0]
    logs = [
        average(list(log_softmax(output.astype(np.float64) / temperature_of(classifier)).swapaxes(0, 1)), weights)
        for classifier, output in zip(classifiers, outputs, strict=True)
    ]
    return average(logs).astype(np.float32)
