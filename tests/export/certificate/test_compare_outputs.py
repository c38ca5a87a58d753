"""Each output has its limit; what is missing, of another shape or not a number is beyond every limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.export.certificate.compare_outputs import Measured, differences, same_labels

LOGITS = np.array([[4.0, -2.0], [1.0, 3.0]], np.float32)


def difference(found: np.ndarray, expected: np.ndarray = LOGITS, name: str = "logits") -> float:
    first = Measured("the first", {name: expected}, {name: expected})
    (only,) = differences([first, Measured("the second", {name: found}, {name: expected})])
    if only.value:
        assert only.where == "the second"
    assert only.within_limit == (only.value <= only.limit)
    return only.value


def test_logits_are_relative_to_the_largest_and_probabilities_absolute() -> None:
    moved = LOGITS + np.array([[0, 0], [0, 1e-3]], np.float32)
    assert difference(moved) == pytest.approx(1e-3 / 4, rel=1e-3)
    assert difference(moved, name="probabilities") == pytest.approx(1e-3, rel=1e-3)
    assert difference(-LOGITS) == 2
    assert difference(LOGITS) == 0


@pytest.mark.parametrize(
    "found", [LOGITS[:1], LOGITS.T.reshape(1, 2, 2), np.full((2, 2), np.nan), np.full((2, 2), -np.inf)]
)
def test_nothing_else_is_within_a_limit(found: np.ndarray) -> None:
    assert difference(found) == math.inf


def test_a_missing_output_and_one_that_is_always_0() -> None:
    (only,) = differences([Measured("", {}, {"logits": LOGITS})])
    assert only.to_dict() == {"output": "logits", "difference": None, "limit": 1e-4, "where": ""}
    zeros = np.zeros_like(LOGITS)
    assert difference(zeros, zeros) == 0
    assert difference(zeros + 1e-9, zeros) == math.inf


def test_labels_are_counted_over_all_batches() -> None:
    swapped = Measured("", {"logits": LOGITS[::-1]}, {"logits": LOGITS})
    assert same_labels([Measured("", {"logits": LOGITS * 2}, {"logits": LOGITS}), swapped]) == 2
    assert same_labels([Measured("", {"boxes": LOGITS}, {"boxes": LOGITS})]) is None
