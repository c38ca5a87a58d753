"""Average precision is scikit-learn's, F1 too; intervals cover and are the same every time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score

from resnets.tasks.multilabel import metrics
from resnets.tasks.multilabel.metrics import Labels


def make_labels(seed: int, count: int = 200, classes: int = 5, *, decimals: int = 1) -> Labels:
    random = np.random.default_rng(seed)
    true = random.random((count, classes)) < random.random(classes)
    logits = (2.0 * true + random.normal(size=true.shape)).round(decimals).astype(np.float32)  # with ties
    return Labels(logits, true, logits > 1, np.arange(count))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(0, 2))
def test_average_precision_is_scikit_learns(seed: int, count: int, decimals: int) -> None:
    labels = make_labels(seed, count, decimals=decimals)
    found = metrics.average_precisions(labels.logits, labels.true)
    for index in range(5):
        if labels.true[:, index].any():
            expected = average_precision_score(labels.true[:, index], labels.logits[:, index])
            assert found[index] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(found[index])


def test_a_resample_is_the_average_precision_of_repeated_images() -> None:
    labels = make_labels(1, 60)
    draws = metrics.resample(labels.unit, 5)[:3]
    values = metrics.resampled(labels, draws)
    for row, draw in enumerate(draws.astype(int)):
        true, logits, predicted = (
            np.repeat(each, draw, axis=0) for each in (labels.true, labels.logits, labels.predicted)
        )
        again = metrics.summarize(Labels(logits, true, predicted, np.arange(len(true))))
        for name in ("map", "f1_macro", "f1_micro"):
            assert values[name][row] == pytest.approx(again[name], abs=1e-12)


def test_f1_is_scikit_learns() -> None:
    labels = make_labels(2)
    found = metrics.summarize(labels)
    for name in ("macro", "micro"):
        assert found[f"f1_{name}"] == pytest.approx(f1_score(labels.true, labels.predicted, average=name))
        low, high = found[f"f1_{name}_interval"]
        assert low < found[f"f1_{name}"] < high
    assert found == metrics.summarize(labels)
    rows = metrics.per_class(labels)
    assert rows["f1"] == pytest.approx(f1_score(labels.true, labels.predicted, average=None))


def test_what_cannot_be_measured_is_none_or_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = Labels(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool), np.zeros((3, 2), bool), np.arange(3))
        found = metrics.summarize(nothing)
        assert (found["map"], found["f1_macro"], found["f1_micro"], found["map_interval"]) == (None,) * 4
        assert found["exact_match"] == 1
        one = np.array([[True, False]] * 3)
        found = metrics.summarize(Labels(np.zeros((3, 2), np.float32), one, one, np.arange(3)))
        assert (found["map"], found["f1_macro"], found["f1_macro_interval"]) == (1, 1, None)
        assert np.isnan(metrics.per_class(nothing)["ap"]).all()
        empty = Labels(np.zeros((0, 2), np.float32), np.zeros((0, 2), bool), np.zeros((0, 2), bool), np.arange(0))
        assert metrics.summarize(empty)["map"] is None


def test_images_of_one_group_are_drawn_together() -> None:
    """Twenty copies of each image say no more than one."""
    labels = make_labels(3, 30)
    copies = Labels(
        *(np.repeat(each, 20, axis=0) for each in (labels.logits, labels.true, labels.predicted, labels.unit))
    )
    one, many = metrics.summarize(labels), metrics.summarize(copies)
    assert many["map_interval"] == pytest.approx(one["map_interval"], abs=0.03)
    alone = metrics.summarize(Labels(copies.logits, copies.true, copies.predicted, np.arange(600)))
    widths = [np.ptp(each["f1_micro_interval"]) for each in (alone, many)]
    assert widths[0] < widths[1] / 2


def test_the_score_of_an_image_is_its_f1() -> None:
    true = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]], bool)
    predicted = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    assert metrics.image_scores(true, predicted).tolist() == [0.5, 1, 0, 1]
