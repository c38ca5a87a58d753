"""Two models on the same pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from resnets.errors import UserError
from resnets.tasks.comparison import compare
from resnets.tasks.predictions import Predictions


def answering(right: np.ndarray) -> Predictions:
    """A model of two classes that has these pictures right and the others wrong."""
    true = np.arange(len(right)) % 2
    said = np.where(right, true, 1 - true)
    logits = np.where(said[:, None] == np.arange(2), 2.0, 0.0).astype(np.float32)
    return Predictions(tuple(map(str, range(len(right)))), true, logits, ("cat", "dog"))


def pair(both: int, only_a: int, only_b: int, neither: int) -> tuple[Predictions, Predictions]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return answering(a), answering(b)


def test_the_pictures_are_counted_in_pairs() -> None:
    found = compare(*pair(70, 5, 18, 7))
    assert (found.both, found.only_a, found.only_b, found.neither) == (70, 5, 18, 7)
    assert found.difference == pytest.approx(0.13)
    assert found.p == pytest.approx(2 * binom.cdf(5, 23, 0.5))  # McNemar's exact test, two-sided
    assert found.interval[0] < 0.13 < found.interval[1]
    assert found.to_dict()["count"] == 100


def test_the_result_in_words() -> None:
    better = compare(*pair(70, 5, 18, 7)).in_words("old", "new")
    assert better.startswith("new is better than old by 13.0 points [")
    assert "p = 0.011" in better
    assert "18 pictures only new has right, 5 only old, of 100" in better
    worse = compare(*pair(70, 18, 5, 7)).in_words("old", "new")
    assert worse.startswith("old is better than new by 13.0 points [")
    assert better.split("[")[1].split("]")[0] == worse.split("[")[1].split("]")[0]
    assert (
        compare(*pair(70, 9, 12, 9))
        .in_words()
        .startswith("No difference between A and B was shown: top-1 of B minus top-1 of A is +3.0 points")
    )


def test_equal_models_do_not_differ() -> None:
    found = compare(*pair(9, 0, 0, 1))
    assert (found.p, found.difference) == (1.0, 0.0)


def test_classes_may_stand_in_another_order() -> None:
    a, b = pair(70, 5, 18, 7)
    turned = replace(b, true=1 - b.true, logits=b.logits[:, ::-1].copy(), classes=("dog", "cat"))
    assert compare(a, turned) == compare(a, b)


def test_other_pictures_or_labels_cannot_be_compared() -> None:
    a, b = pair(3, 1, 1, 1)
    for other in (replace(b, paths=b.paths[::-1]), replace(b, true=1 - b.true)):
        with pytest.raises(UserError, match="same pictures"):
            compare(a, other)
    without = [replace(each, true=np.full(6, -1)) for each in (a, b)]
    with pytest.raises(UserError, match="there are none"):
        compare(*without)
