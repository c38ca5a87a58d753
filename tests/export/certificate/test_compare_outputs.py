"""Each output has its limit; what is missing, of another shape or not a number is beyond every limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from resnets.export.certificate.compare_outputs import OutputPair, differences, same_labels, with_softmax

LOGITS = np.array([[4.0, -2.0], [1.0, 3.0]], np.float32)


def difference(found: np.ndarray, expected: np.ndarray = LOGITS, name: str = "logits") -> float:
    first = OutputPair("the first", {name: expected}, {name: expected})
    (only,) = differences([first, OutputPair("the second", {name: found}, {name: expected})])
    if only.value:
        assert only.where == "the second"
    assert only.within_limit == (only.value <= only.limit)
    return only.value


def test_logits_are_relative_to_the_largest_of_their_class_and_probabilities_absolute() -> None:
    moved = LOGITS + np.array([[0, 0], [0, 1e-3]], np.float32)
    assert difference(moved) == pytest.approx(1e-3 / 3, rel=1e-3)
    assert difference(moved, name="features") == pytest.approx(1e-3 / 4, rel=1e-3)
    assert difference(moved, name="probabilities") == pytest.approx(1e-3, rel=1e-3)


def test_a_masked_class_hides_nothing_of_the_others() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (20, 6)).astype(np.float32)
    logits[:, 2] *= 1e-3  # whose rounding errors are those of the other classes
    logits[:, 1] = -1e6
    honest = (logits * (1 + 1e-6 * random.normal(size=logits.shape))).astype(np.float32)
    honest[:, 2] += 2e-5 * random.normal(size=20).astype(np.float32)
    assert difference(honest, logits) < 1e-4
    others = [0, 2, 3, 4, 5]
    for wrong in (np.roll(logits[:, others], 1, 1), logits[:, others] + np.array([0, 0, 0.01, 0, 0])):
        faulty = logits.copy()
        faulty[:, others] = wrong
        assert max(each.value / each.limit for each in differences([measured(faulty, logits)])) > 10


def measured(found: np.ndarray, expected: np.ndarray) -> OutputPair:
    return OutputPair("", with_softmax({"logits": found}), with_softmax({"logits": expected}))


def test_logits_alone_are_compared_by_their_softmax_as_well() -> None:
    """Where most classes are masked, an ordinary one is not known."""
    logits = np.array([[-1e6, -1e6, -1e6, 1.0, 2.0], [-1e6, -1e6, -1e6, 2.0, 1.5]], np.float32)
    faulty = logits + np.array([0, 0, 0, 0.19, 0], np.float32)
    found = {each.output: each for each in differences([measured(faulty, logits)])}
    assert found["logits"].within_limit
    assert not found["softmax of logits"].within_limit
    exact = np.exp(2 - 1.5) / (1 + np.exp(2 - 1.5)), np.exp(2.19 - 1.5) / (1 + np.exp(2.19 - 1.5))
    small = np.exp(1 - 2) / (1 + np.exp(1 - 2)), np.exp(1.19 - 2) / (1 + np.exp(1.19 - 2))
    largest = max(abs(pair[1] - pair[0]) for pair in (exact, small))
    assert found["softmax of logits"].value == pytest.approx(largest, rel=1e-4)
    with_features = {"logits": logits, "features": logits}
    assert with_softmax(with_features) == with_features


def test_another_label_is_refused_unless_the_two_classes_are_equal_but_for_rounding() -> None:
    """Two classes with large biases: within the limit of each, and another label."""
    logits = np.array([[1e6, 1e6 + 1, 0.0], [1e6 + 2, 1e6, 5.0], [1e6, 1e6 + 3, 1.0]], np.float32)
    logits = np.concatenate([logits, logits[:, 2:] + 1, logits[:, 2:] - 1], 1)
    swapped = logits.copy()
    swapped[0, 0] += 2
    found = differences(
        [OutputPair("", {"logits": swapped, "features": logits}, {"logits": logits, "features": logits})]
    )
    assert all(each.within_limit for each in found)  # float32 rounds 1e6 to 0.06
    moderate = np.where(logits > 10, logits - 1e6 + 2e4, logits)
    swapped = moderate.copy()
    swapped[0, 0] += 1.9
    (of_logits, of_labels) = differences([OutputPair("", {"logits": swapped}, {"logits": moderate})])
    assert of_logits.within_limit
    assert not of_labels.within_limit
    assert of_labels.value == pytest.approx(1 / (0.01 * 20001), rel=1e-3)
    assert difference(LOGITS) == 0


@pytest.mark.parametrize(
    "found", [LOGITS[:1], LOGITS.T.reshape(1, 2, 2), np.full((2, 2), np.nan), np.full((2, 2), -np.inf)]
)
def test_missing_and_infinite_outputs_are_beyond_every_limit(found: np.ndarray) -> None:
    assert difference(found) == math.inf


def test_a_missing_output_and_one_that_is_always_0() -> None:
    (only,) = differences([OutputPair("", {}, {"logits": LOGITS})])
    assert only.to_dict() == {"output": "logits", "difference": None, "limit": 1e-4, "where": ""}
    zeros = np.zeros_like(LOGITS)
    assert difference(zeros, zeros) == 0
    assert difference(zeros + 1e-9, zeros) == math.inf


def test_labels_are_counted_over_all_batches() -> None:
    swapped = OutputPair("", {"logits": LOGITS[::-1]}, {"logits": LOGITS})
    assert same_labels([OutputPair("", {"logits": LOGITS * 2}, {"logits": LOGITS}), swapped]) == 2
    assert same_labels([OutputPair("", {"boxes": LOGITS}, {"boxes": LOGITS})]) is None
