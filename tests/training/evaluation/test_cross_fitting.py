"""Each fold of the val split is evaluated with the choice of the others, and the printed interval covers the true accuracy."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from tests.in_soak import only_in_soak

from resnets.tasks.classification import per_image_results
from resnets.tasks.classification.calibration import fit_temperature
from resnets.tasks.classification.confidence_intervals import cross_fitted, wilson
from resnets.tasks.classification.per_image_results import PerImageResults
from resnets.tasks.classification.task import Classification
from resnets.tasks.measurements import Measurements
from resnets.training.evaluation import cross_fitting
from resnets.training.evaluation.cross_fitting import CrossFit

COUNT, CLASSES, EPOCHS = 83, 4, 12


def _history(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (E, N, K) of epochs that are equally good, and labels (N,)."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, COUNT)
    logits = random.normal(0, 1, (EPOCHS, COUNT, CLASSES)).astype(np.float32)
    logits[:, np.arange(COUNT), labels] += 1.0
    return torch.from_numpy(logits), torch.from_numpy(labels)


TASK = Classification(tuple(map(str, range(CLASSES))))


def _create(labels: torch.Tensor, clusters: np.ndarray) -> CrossFit | None:
    return cross_fitting.create([str(label) for label in labels.tolist()], clusters)


def _measured(logits: torch.Tensor, labels: torch.Tensor) -> Measurements:
    return Measurements({"logits": logits, "true": labels})


def _after(logits: torch.Tensor, labels: torch.Tensor) -> CrossFit:
    folds = _create(labels, np.arange(len(labels)))
    assert folds is not None
    for epoch, each in enumerate(logits, start=1):
        folds.update(epoch, TASK, _measured(each, labels))
    return folds


def test_each_fold_is_evaluated_with_the_epoch_and_temperature_of_the_other_folds() -> None:
    logits, labels = _history()
    folds = _after(logits, labels)
    rows = np.arange(COUNT)
    correct = (logits.argmax(2) == labels).numpy()
    losses = -logits.log_softmax(2)[:, rows, labels].double().numpy()
    num_correct = 0
    for fold in range(cross_fitting.FOLDS):
        others, in_fold = folds.folds != fold, folds.folds == fold
        chosen = max(range(EPOCHS), key=lambda epoch: (correct[epoch, others].mean(), -losses[epoch, others].mean()))
        temperature = fit_temperature(logits[chosen].numpy()[others], labels.numpy()[others])
        assert folds.epochs[fold] == chosen + 1
        fitted = folds.fitted[fold]["temperature"]
        assert fitted == pytest.approx(temperature, rel=1e-6)
        result = per_image_results.from_logits(logits[chosen].numpy()[in_fold], labels.numpy()[in_fold], fitted)
        kept = folds.kept[fold]
        assert kept is not None
        for each in fields(PerImageResults):
            assert (kept[each.name].numpy() == getattr(result, each.name)).all(), each.name
        assert (folds.scores[fold] == correct[chosen]).all()
        num_correct += int(result.correct.sum())
    assert len(set(folds.epochs)) > 1
    figures = folds.summarize(TASK)
    assert figures["top1"] == pytest.approx(num_correct / COUNT)
    assert figures["folds"]["epochs"] == folds.epochs
    json.dumps(figures, allow_nan=False)


def test_the_first_of_equal_epochs_is_selected_as_in_the_run() -> None:
    logits, labels = _history()
    folds = _after(torch.stack([logits[0], logits[0]]), labels)
    assert folds.epochs == [1] * cross_fitting.FOLDS


def test_a_restored_state_continues_to_the_same_result() -> None:
    logits, labels = _history()
    whole, half = _after(logits, labels), _after(logits[:5], labels)
    tensors, metadata = half.state()
    again = cross_fitting.restore(tensors, json.loads(json.dumps(metadata)))
    for epoch in range(5, EPOCHS):
        again.update(epoch + 1, TASK, _measured(logits[epoch], labels))
    (tensors, metadata), (expected, expected_metadata) = again.state(), whole.state()
    assert metadata == expected_metadata
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_every_class_is_in_every_fold_and_the_folds_are_of_one_size() -> None:
    labels = torch.arange(100) % 10
    folds = _create(labels, np.arange(len(labels)))
    assert folds is not None
    for fold in range(cross_fitting.FOLDS):
        assert np.bincount(labels.numpy()[folds.folds == fold]).tolist() == [2] * 10
    again = _create(labels, np.arange(len(labels)))
    assert again is not None
    assert (again.folds == folds.folds).all()


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_folds(count: int) -> None:
    assert _create(torch.zeros(count, dtype=torch.int64), np.arange(count)) is None


@pytest.mark.parametrize("count", [2, 3, 7])
def test_few_images_are_enough(count: int) -> None:
    logits, labels = _history()
    figures = _after(logits[:, :count], labels[:count]).summarize(TASK)
    low, high = figures["top1_interval"]
    assert (figures["count"], 0 <= low < high <= 1) == (count, True)


def test_the_interval_is_wider_the_more_the_selected_epochs_differ() -> None:
    same = np.tile(np.arange(100) < 80, (5, 1))
    other = same.copy()
    other[0, 60:100] = ~other[0, 60:100]
    widths = [high - low for low, high in (wilson(80, 100), cross_fitted(80, same), cross_fitted(80, other))]
    assert widths == sorted(widths)
    assert widths[1] == pytest.approx(widths[0] / 0.9**0.5, rel=0.02)
    assert cross_fitted(100, np.ones((5, 100), dtype=bool))[1] == 1.0


def test_copies_of_images_count_no_more_than_the_images() -> None:
    """They are in one fold, so that the choice and the intervals are those of the images themselves."""
    logits, labels = _history()
    once, copies = _after(logits, labels), 5
    clusters = np.tile(np.arange(COUNT), copies)
    often = _create(labels.repeat(copies), clusters)
    assert often is not None
    for epoch, each in enumerate(logits, start=1):
        often.update(epoch, TASK, _measured(each.repeat(copies, 1), labels.repeat(copies)))
    assert all(len(set(often.folds[clusters == cluster])) == 1 for cluster in range(COUNT))
    assert often.epochs == once.epochs
    one, other = once.summarize(TASK), often.summarize(TASK)
    for name in ("top1", "top1_interval", "top5_interval"):
        assert other[name] == pytest.approx(one[name])
    assert (other["count"], other["num_clusters"], one["num_clusters"]) == (COUNT * copies, COUNT, COUNT)
    assert _create(torch.tensor([0, 1, 0]), np.zeros(3, dtype=np.int64)) is None


def test_whole_groups_are_assigned_to_folds_class_by_class() -> None:
    labels, clusters = torch.arange(60) // 30, np.arange(60) // 3
    folds = _create(labels, clusters)
    assert folds is not None
    for fold in range(cross_fitting.FOLDS):
        assert np.bincount(labels.numpy()[folds.folds == fold]).tolist() == [6, 6]
    assert all(len(set(folds.folds[clusters == cluster])) == 1 for cluster in range(20))


def _simulation() -> ModuleType:
    path = Path(__file__).parents[2] / "soak" / "coverage.py"
    specification = importlib.util.spec_from_file_location("resnets_coverage", path)
    assert specification is not None
    assert specification.loader is not None
    made = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(made)
    return made


@only_in_soak("25 s")
def test_the_printed_interval_covers_the_true_accuracy_where_the_plain_one_does_not() -> None:
    """The short form of `tests/soak/coverage.py`; the seed decides, so that it always ends in the same way."""
    result = _simulation().simulate("equal", 360, 60, seed=0)
    assert result.plain < 0.93
    assert result.plain_bias > 0.012
    assert 0.93 <= result.headline <= 0.99
    assert abs(result.headline_bias) < 0.006


def test_ten_thousand_classes_need_no_more_than_the_logits() -> None:
    """What stays of an epoch is a few numbers for each image, whatever the number of classes."""
    labels = torch.arange(20)
    folds = _create(labels, np.arange(len(labels)))
    assert folds is not None
    task = Classification(tuple(map(str, range(10_000))))
    folds.update(1, task, _measured(torch.zeros(20, 10_000), labels))
    tensors, _ = folds.state()
    assert sum(tensor.nbytes for tensor in tensors.values()) < 20 * 150
    assert folds.summarize(task)["num_classes"] == 10_000


def test_rows_of_any_size_are_stored_as_one_tensor() -> None:
    boxes = [torch.zeros(0, 4), torch.arange(8.0).reshape(2, 4), torch.ones(1, 4)]
    folds = _create(torch.arange(3), np.arange(3))
    assert folds is not None
    folds.kept[0] = Measurements({"boxes": boxes, "size": torch.arange(3)})

    tensors, metadata = folds.state()

    assert tensors["kept.0.boxes"].shape == (12,)
    kept = cross_fitting.restore(tensors, json.loads(json.dumps(metadata))).kept[0]
    assert kept is not None
    assert all(torch.equal(one, other) for one, other in zip(kept["boxes"], boxes, strict=True))
