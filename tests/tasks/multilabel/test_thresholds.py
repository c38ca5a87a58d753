"""The threshold of each class has the largest F1 on the images that it is fitted to."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnets.tasks.multilabel import thresholds


def f1(true: np.ndarray, predicted: np.ndarray) -> float:
    return float(2 * (true & predicted).sum() / (true.sum() + predicted.sum()))


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 2))
def test_no_other_threshold_has_a_larger_f1(seed: int, count: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 3)).round(decimals).astype(np.float32)
    true = random.random((count, 3)) < 0.4
    found = thresholds.fit(logits, true)
    for index, threshold in enumerate(found):
        if not true[:, index].any():
            assert threshold is None
            continue
        assert threshold is not None
        assert 0 < threshold < 1
        best = f1(true[:, index], thresholds.apply(logits[:, [index]], np.array([threshold]))[:, 0])
        assert all(f1(true[:, index], logits[:, index] >= cut) <= best + 1e-12 for cut in np.unique(logits[:, index]))


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    logits = np.array([[4.0], [3.0], [-1.0], [-5.0]])
    assert thresholds.fit(logits, np.array([[1], [1], [0], [0]])) == [1 / (1 + np.exp(-1.0))]


def test_extreme_logits_and_classes_that_all_images_have() -> None:
    logits = np.array([[200.0, 3.0], [100.0, 2.0], [-300.0, 1.0]])
    true = np.array([[1, 1], [0, 1], [0, 1]])
    found = np.array(thresholds.fit(logits, true), dtype=float)
    assert (found > 0).all()
    assert (found < 1).all()
    assert thresholds.apply(logits, found)[:, 1].all()


def test_a_class_without_a_threshold_has_a_half() -> None:
    fitted = {"thresholds": {"ant": None, "bee": 0.2}}
    assert thresholds.of_classes(fitted, ["bee", "ant", "wasp"]).tolist() == [0.2, 0.5, 0.5]
    assert thresholds.of_classes({}, ["ant"]).tolist() == [0.5]
    assert thresholds.apply(np.array([[0.0], [-0.1]]), np.array([0.5])).tolist() == [[True], [False]]
