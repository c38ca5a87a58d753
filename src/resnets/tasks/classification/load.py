"""Classification: one label an image. Load a classifier, and find out how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnets.data.datasets.dataset import Sample
from resnets.data.loading.thread_pool import ordered_map
from resnets.errors import ImageError, JobError, UserError, format_list, suggestion
from resnets.inference.model_runner import Job
from resnets.progress import log, progress_bar
from resnets.tasks.classification import test_time_augmentation
from resnets.tasks.classification.classifier import Classifier, check_finite
from resnets.tasks.classification.prediction import Prediction
from resnets.tasks.classification.prediction_set import UNLABELED, Predictions, average, log_softmax
from resnets.tasks.inputs.batching import Prepared, check_sizes, chunks
from resnets.weights import checkpoint as checkpoints
from resnets.weights import resolve

__all__ = ["Classifier", "Prediction", "evaluate", "evaluate_pooled", "load"]


def load(path: str | Path, *, device: str = "cpu", backend: str = "auto", precision: str = "auto") -> Classifier:
    """The classifier in a checkpoint or, in a run folder, in its best one; ready to predict, in eval mode.

    Args:
        path: what `resnets train` wrote.
        device: as torch calls it.
        backend, precision: what computes, as in `Classifier`; `evaluate` takes "auto" for fp32.

    Raises:
        UserError: anything but an undamaged checkpoint of ours; the message says what was found at `path`.
    """
    found = resolve.read(path)
    if found.provenance.get("head") == checkpoints.UNTRAINED:
        raise UserError(
            f"'{path}' is a network whose last layer was never trained, so it has no answers yet. Train it for your classes: "
            f"resnets train DATA --weights '{path}'"
        )
    return Classifier(
        checkpoints.network(found),
        found.preprocess,
        found.shown,
        found.temperature,
        named=bool(found.classes),
        spec=found.spec,
        metrics=found.metrics,
        provenance=found.provenance,
        device=device,
        backend=backend,
        precision=precision,
        name=str(path),
    )


def evaluate(
    classifiers: Sequence[Classifier],
    samples: Sequence[Sample],
    *,
    batch: int = 32,
    workers: int | None = None,
    crops: int = 1,
    scales: Sequence[int] = (),
    on_bad: str = "error",
) -> Predictions:
    """What a classifier, or several as an ensemble, say about each of the samples; every one counts once.

    Args:
        classifiers: with the same classes, in any order; the answer has the order of the first one's.
        samples: images, with or without labels.
        batch: views that go through a network together.
        workers: threads that read images; None for one a processor, 0 for none of their own.
        crops: 1, or 10 crops of each image.
        scales: or, instead, whole images with shorter sides of these lengths in pixels; see
            `test_time_augmentation`.
        on_bad: "error", or "skip" to leave unreadable images out and say so.

    Returns:
        Logits and temperature of the classifier where there is one of it and one view; else the logarithm of the mean
        of the probabilities, and a temperature of 1.

    Raises:
        UserError: the classes differ, a label is unknown, or the views do not fit the network.
        JobError: images cannot be read; all of them are named.
    """
    check_sizes(batch, workers)
    if on_bad not in ("error", "skip"):
        raise UserError(f"`on_bad` is error or skip; received '{on_bad}'.")
    if not samples:
        raise UserError("There are no images to evaluate on.")
    for each in classifiers:
        test_time_augmentation.check(each.net, each.preprocess, crops, scales)
    columns = column_orders(classifiers)
    true = _true(samples, classifiers[0].classes)
    look = partial(_look, classifiers, crops, scales)
    size = max(batch // test_time_augmentation.count(crops, scales), 1)
    each_view = 1 if scales else crops  # of one size
    jobs = [each.runner.job(len(samples) * each_view, size * each_view, precision="fp32") for each in classifiers]
    ready = ordered_map(look, samples, workers=workers, ahead=2 * size)
    good: list[int] = []
    bad: dict[int, str] = {}
    rows = [np.empty((0, len(columns[0])), dtype=np.float32)]
    number = 0
    for chunk in chunks(progress_bar(ready, description="evaluating", total=len(samples), unit="images"), size):
        for entry in chunk:
            if entry.error is None:
                good.append(number)
            else:
                bad[number] = entry.error
            number += 1
        readable = [entry for entry in chunk if entry.error is None]
        if readable:
            rows.append(_judged(classifiers, jobs, columns, readable))
    _tell_bad(samples, bad, on_bad)
    plain = len(classifiers) == test_time_augmentation.count(crops, scales) == 1
    return Predictions(
        paths=tuple(samples[index].path for index in good),
        true=true[good],
        logits=np.concatenate(rows),
        classes=classifiers[0].classes,
        temperature=classifiers[0].temperature if plain else 1.0,
        skipped=tuple(samples[index].path for index in bad),
        backend=", ".join(dict.fromkeys(used.backend for job in jobs for used in job.used)),
        precision=", ".join(dict.fromkeys(used.precision for job in jobs for used in job.used)),
    )


def evaluate_pooled(classifier: Classifier, samples: Sequence[Sample], pooled: Tensor, *, backend: str) -> Predictions:
    """As `evaluate`, where what the body makes of each image is at hand: pooled vectors (N, features), float32.

    Args:
        backend: the name of what computed the vectors; the last layer is computed by torch.
    """
    assert len(pooled) == len(samples), (len(pooled), len(samples))
    head = classifier.net.head
    with torch.inference_mode():
        logits = head(pooled.to(head.fc.weight.device)).float().cpu()
    for sample, row in zip(samples, logits, strict=True):
        check_finite(row, sample.path)
    return Predictions(
        paths=tuple(sample.path for sample in samples),
        true=_true(samples, classifier.classes),
        logits=logits.numpy(),
        classes=classifier.classes,
        temperature=classifier.temperature,
        backend=backend,
        precision="fp32",
    )


def column_orders(classifiers: Sequence[Classifier]) -> list[list[int]]:
    """For each classifier, where it has the classes of the first one.

    Raises:
        UserError: the classes are not the same ones; the message names what differs.
    """
    first = classifiers[0]
    orders = []
    for each in classifiers:
        lacking = [name for name in first.classes if name not in each.classes]
        besides = [name for name in each.classes if name not in first.classes]
        if lacking or besides:
            faults = [f"does not know {format_list(lacking, 5)}"] if lacking else []
            faults += [f"knows {format_list(besides, 5)} besides"] if besides else []
            raise UserError(
                f"Models that are judged together need the same classes: in contrast to '{first.name}', '{each.name}' "
                f"{' and '.join(faults)}."
            )
        place = {name: index for index, name in enumerate(each.classes)}
        orders.append([place[name] for name in first.classes])
    return orders


def _true(samples: Sequence[Sample], classes: Sequence[str]) -> np.ndarray:
    place = {name: index for index, name in enumerate(classes)}
    unknown = sorted({sample.label for sample in samples if sample.label is not None} - set(place))
    if unknown:
        hint = suggestion(unknown[0], place)
        raise UserError(
            f"There are images of {format_list(unknown)}; the model knows {format_list(list(classes))}.{hint}"
        )
    return np.array([UNLABELED if each.label is None else place[each.label] for each in samples], dtype=np.int64)


def _look(classifiers: Sequence[Classifier], crops: int, scales: Sequence[int], sample: Sample) -> Prepared:
    """Read the image once for each different preprocessing."""
    taken = {}
    try:
        for each in classifiers:
            if each.preprocess not in taken:
                taken[each.preprocess] = test_time_augmentation.take(each.preprocess, sample.path, crops, scales)
            for view in taken[each.preprocess]:
                each.check_side(view)
    except ImageError as error:
        return Prepared(sample.path, [], error.reason)
    return Prepared(sample.path, [taken[each.preprocess] for each in classifiers])


def _judged(
    classifiers: Sequence[Classifier], jobs: Sequence[Job], columns: Sequence[list[int]], entries: list[Prepared]
) -> np.ndarray:
    """float32 (N, K) for N readable images: plain logits, or the log of the mean probabilities."""
    answers = []
    for which, (classifier, order) in enumerate(zip(classifiers, columns, strict=True)):
        looks = [view for entry in entries for view in entry.inputs[which]]
        logits = classifier.logits(looks, jobs[which])
        each_view = len(looks) // len(entries)
        for number, entry in enumerate(entries):
            check_finite(logits[number * each_view : (number + 1) * each_view], entry.name)
        answers.append(logits.numpy().reshape(len(entries), each_view, -1)[:, :, order])
    if len(answers) == 1 and answers[0].shape[1] == 1:
        return answers[0][:, 0]
    logs = [
        average(list(log_softmax(one.astype(np.float64) / each.temperature).swapaxes(0, 1)))
        for each, one in zip(classifiers, answers, strict=True)
    ]
    return average(logs).astype(np.float32)


def _tell_bad(samples: Sequence[Sample], bad: dict[int, str], on_bad: str) -> None:
    if not bad:
        return
    for index, reason in bad.items():
        log(f"'{samples[index].path}' {reason}")
    paths = [samples[index].path for index in bad]
    if on_bad == "error":
        raise JobError(
            f"{len(bad):,} of {len(samples):,} images cannot be read: {format_list(paths)}. Mend or remove them, or leave "
            "them out with `on_bad=skip`."
        )
    if len(bad) == len(samples):
        raise JobError(f"Not one of the {len(samples):,} images can be read: {format_list(paths, 5)}.")
    log(f"left out: {len(bad):,} of {len(samples):,} images, which cannot be read")
