"""Evaluate the features of a model by a k-nearest-neighbor classifier: nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resnets.data.datasets.dataset import Dataset, Sample
from resnets.data.split import lineage
from resnets.data.split.make_split import make_split
from resnets.data.split.split_file import read_split
from resnets.errors import JobError, UserError
from resnets.message_format import format_list
from resnets.progress import log, progress_bar
from resnets.tasks import load_model
from resnets.tasks.base import Measured
from resnets.tasks.classification.task import Classification
from resnets.tasks.embeddings import embedding_results
from resnets.tasks.embeddings.embedding_index import unit_length
from resnets.tasks.embeddings.knn_classifier import vote_logits
from resnets.tasks.evaluation.evaluation_notices import training_notices
from resnets.tasks.evaluation.evaluation_split import EvaluationSplit
from resnets.tasks.evaluation.results import EvaluatedModel, Evaluation
from resnets.tasks.trained_model import TrainedModel
from resnets.weights import find_weights


def evaluate_knn(
    checkpoint: str | Path, data: str | Path, *, k: int = 20, layer: str | None = None,
    split_file: str | Path | None = None, batch: int = 32, workers: int | None = None, device: str = "auto",
) -> Evaluation:  # fmt: skip
    """Classify the images of one split by the classes of the nearest images of the train split.

    Args:
        data: images with one class each. If it has no split, it is split as a training would split it.
        k: number of nearest images that vote.

    Raises:
        UserError: a number is out of range, or the images have no class, or no train split.
        JobError: images cannot be read.
    """
    if k < 1:
        raise UserError(f"`k` must be 1 or more; received {k}.")
    model = load_model.load(checkpoint, device, precision="fp32")
    dataset, origin = _with_splits(Classification.read(data), split_file)
    name = next((each for each in ("test", "val") if each in dataset.splits), None)
    known = [sample for sample in dataset.samples if sample.split == "train"]
    if name is None or not known:
        raise UserError(
            f"'{data}' has no images with known classes, or none to evaluate: it needs a train and a val split."
        )
    samples = [sample for sample in dataset.samples if sample.split == name]
    task = Classification(dataset.class_names)
    log(f"classifying the {len(samples):,} images of the {name} split by the {len(known):,} of the train split")
    vectors, queries = (_vectors(model, each, layer, batch, workers) for each in (known, samples))
    logits = vote_logits(vectors, np.asarray(task.targets(known)), queries, k=k, num_classes=len(dataset.class_names))
    measurements = task.measure(logits, samples, task.targets(samples), ())
    protocol = f"{model.describe_input()}, {min(k, len(known))} nearest neighbors"
    measured = Measured(task, measurements, {"backend": "reference", "precision": "fp32"}, protocol)
    evaluated = EvaluatedModel((str(checkpoint),), measured, tuple(samples), ())
    split = EvaluationSplit(name, samples, origin)
    past = lineage.lineage_of(find_weights.find_file(checkpoint), model.provenance)
    return Evaluation(str(data), split, (evaluated,), notices=tuple(training_notices([(str(checkpoint), past)], split)))


def _with_splits(dataset: Dataset, split_file: str | Path | None) -> tuple[Dataset, str]:
    if split_file is not None:
        return read_split(split_file, dataset), str(split_file)
    if {"val", "test"} & set(dataset.splits):
        return dataset, f"as in '{dataset.root}'"
    return make_split(dataset), "split as a training splits them by default"


def _vectors(
    model: TrainedModel, samples: Sequence[Sample], layer: str | None, batch: int, workers: int | None
) -> np.ndarray:
    """Unit vectors, float32 (N, D)."""
    stream = model.stream_embeddings([sample.path for sample in samples], layer=layer, batch=batch, workers=workers)
    found = embedding_results.collect(progress_bar(stream, description="embedding", total=len(samples), unit="images"))
    if found.errors:
        paths = list(found.errors)
        raise JobError(
            f"{len(paths):,} of {len(samples):,} images cannot be read: {format_list(paths)}. Repair or remove them."
        )
    return unit_length(found.vectors)
