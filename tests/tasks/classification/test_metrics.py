"""The figures are those of scikit-learn and torchmetrics, and hold where a set lacks classes or labels."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix, multiclass_f1_score

from resnets import atomic_write
from resnets.tasks.classification import metrics
from resnets.tasks.classification.prediction_set import Predictions


def predictions(count: int = 400, classes: int = 8, seed: int = 0) -> Predictions:
    random = np.random.default_rng(seed)
    true = random.integers(0, classes, count)
    logits = random.normal(0, 1, (count, classes))
    logits[np.arange(count), true] += 1.5
    names = tuple(f"class {index}" for index in range(classes))
    return Predictions(tuple(map(str, range(count))), true, logits.astype(np.float32), names, temperature=1.3)


def test_the_whole_set_against_scikit_learn_and_torchmetrics() -> None:
    made = predictions()
    found = metrics.summarize(made)
    predicted, true = made.predicted, made.true
    assert found["top1"] == pytest.approx((predicted == true).mean())
    assert found["top5"] == pytest.approx(top_k_accuracy_score(true, made.logits, k=5))
    five = multiclass_accuracy(torch.from_numpy(made.logits), torch.from_numpy(true), 8, "micro", top_k=5)
    assert found["top5"] == pytest.approx(float(five))
    assert found["loss"] == pytest.approx(log_loss(true, made.probabilities))
    for key, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        assert found[f"{key}_macro"] == pytest.approx(score(true, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
    theirs = multiclass_f1_score(torch.from_numpy(predicted), torch.from_numpy(true), 8, average="macro")
    assert found["f1_macro"] == pytest.approx(float(theirs))
    low, high = found["top1_interval"]
    assert low < found["top1"] < high
    assert (found["count"], found["num_classes"], found["top5_of"], found["temperature"]) == (400, 8, 5, 1.3)
    json.dumps(found, allow_nan=False)


def test_the_confusion_matrix_has_the_truth_in_rows() -> None:
    made = predictions()
    theirs = multiclass_confusion_matrix(torch.from_numpy(made.predicted), torch.from_numpy(made.true), 8)
    assert (metrics.confusion(made).toarray() == theirs.numpy()).all()
    assert metrics.confusion(made).sum(axis=1).tolist() == np.bincount(made.true).tolist()


def test_class_by_class() -> None:
    made = predictions()
    rows = metrics.per_class(made)
    assert [row["class"] for row in rows] == list(made.class_names)
    for index, row in enumerate(rows):
        of_it, taken = made.true == index, made.predicted == index
        assert (row["support"], row["predicted"]) == (of_it.sum(), taken.sum())
        assert row["precision"] == pytest.approx((of_it & taken).sum() / taken.sum())
        assert row["recall"] == pytest.approx((of_it & taken).sum() / of_it.sum())
        assert row["recall_low"] < row["recall"] < row["recall_high"]
        assert row["f1"] == pytest.approx(2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"]))


def lacking() -> Predictions:
    """Of four classes 'b' has no image here, 'c' is never predicted, and 'd' is neither."""
    logits = np.eye(4, dtype=np.float32)[[0, 0, 1, 0]]
    return Predictions(tuple("1234"), np.array([0, 0, 0, 2]), logits, tuple("abcd"))


def test_a_set_that_lacks_classes() -> None:
    found = metrics.summarize(lacking())
    assert (found["num_classes"], found["num_classes_with_images"]) == (4, 2)
    assert found["top1"] == 0.5
    # Over a and c alone: precision 2/3 and 0, recall 2/3 and 0.
    assert found["precision_macro"] == pytest.approx(1 / 3)
    assert found["recall_macro"] == pytest.approx(1 / 3)
    a, b, c, d = metrics.per_class(lacking())
    assert (a["precision"], a["recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (b["support"], b["predicted"], b["precision"], b["recall"], b["f1"]) == (0, 1, 0.0, None, None)
    assert (c["support"], c["predicted"], c["precision"], c["recall"], c["f1"]) == (1, 0, None, 0.0, 0.0)
    assert (d["support"], d["predicted"], d["precision"], d["recall_low"]) == (0, 0, None, None)
    json.dumps([found, a, b, c, d], allow_nan=False)


def test_a_class_that_is_missing_from_the_set_changes_nothing_for_the_others() -> None:
    made = predictions()
    kept = np.flatnonzero(made.true != 3)
    some = replace(made, paths=tuple(str(i) for i in kept), true=made.true[kept], logits=made.logits[kept])
    whole, part = metrics.per_class(made), metrics.per_class(some)
    for index in set(range(8)) - {3}:
        assert part[index]["recall"] == whole[index]["recall"]
        assert part[index]["support"] == whole[index]["support"]


def test_few_classes_have_a_smaller_top_5() -> None:
    found = metrics.summarize(predictions(classes=3))
    assert (found["top5"], found["top5_of"]) == (1.0, 3)


def test_equal_logits_are_no_luck() -> None:
    """A network that says the same for all classes is right only where the first one is meant."""
    made = Predictions(tuple("abc"), np.array([0, 5, 6]), np.zeros((3, 7), dtype=np.float32), tuple("abcdefg"))
    found = metrics.summarize(made)
    assert (found["top1"], found["top5"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_what_has_no_label_is_counted_and_does_not_count() -> None:
    made = predictions(100)
    with_more = replace(
        made,
        paths=(*made.paths, "x", "y"),
        true=np.append(made.true, [-1, -1]),
        logits=np.vstack([made.logits, np.ones((2, 8), dtype=np.float32)]),
        skipped=("broken.jpg",),
    )
    assert metrics.summarize(with_more) == {**metrics.summarize(made), "unlabeled": 2, "skipped": 1}
    assert metrics.per_class(with_more) == metrics.per_class(made)
    assert (metrics.confusion(with_more) != metrics.confusion(made)).nnz == 0


@pytest.mark.parametrize("count", [0, 3])
def test_without_any_label_nothing_is_claimed(count: int) -> None:
    made = Predictions(tuple("abc"[:count]), np.full(count, -1), np.zeros((count, 2), dtype=np.float32), ("x", "y"))
    found = metrics.summarize(made)
    assert (found["count"], found["unlabeled"]) == (0, count)
    assert {found[key] for key in ("top1", "top1_interval", "top5", "loss", "f1_macro", "ece")} == {None}
    assert metrics.confusion(made).toarray().tolist() == [[0, 0], [0, 0]]
    assert metrics.per_class(made)[0]["recall"] is None


def test_the_table_of_the_classes(tmp_path: Path) -> None:
    atomic_write.write_csv(tmp_path / "c.csv", metrics.per_class(lacking()))
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [row["class"] for row in rows] == list("abcd")
    assert (rows[3]["precision"], rows[0]["support"]) == ("", "3")
