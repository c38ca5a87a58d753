"""Rows in the order of the examples, and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnets.tasks.measurements import Measurements, concatenate


def batch(first: int, count: int, total: float = 1.0) -> Measurements:
    numbers = range(first, first + count)
    rows = {"value": torch.tensor(list(numbers)), "boxes": [torch.full((n % 3, 4), n) for n in numbers]}
    return Measurements(rows, {"matrix": torch.full((2, 2), total)})


def test_batches_are_joined_in_their_order() -> None:
    found = concatenate([batch(0, 3, 1.0), batch(3, 1, 2.0), batch(4, 2, 4.0)])
    assert len(found) == 6
    assert found["value"].tolist() == [0, 1, 2, 3, 4, 5]
    assert [tuple(each.shape) for each in found["boxes"]] == [(0, 4), (1, 4), (2, 4), (0, 4), (1, 4), (2, 4)]
    assert found["matrix"].tolist() == [[7.0, 7.0], [7.0, 7.0]]


def test_examples_are_selected_by_number_or_by_a_mask() -> None:
    rows = Measurements({"value": torch.arange(5), "name": list("abcde")})
    some = rows.select(np.array([4, 1, 1]))
    assert (some["value"].tolist(), some["name"]) == ([4, 1, 1], ["e", "b", "b"])
    mask = rows.select(np.array([True, False, False, True, False]))
    assert (mask["value"].tolist(), mask["name"]) == ([0, 3], ["a", "d"])
    assert len(rows.select(np.zeros(5, bool))) == 0


def test_sums_belong_to_no_single_example() -> None:
    with pytest.raises(AssertionError, match="do not belong to single examples"):
        batch(0, 2).select(np.array([0]))


def test_rows_have_one_length() -> None:
    with pytest.raises(AssertionError):
        Measurements({"a": torch.zeros(2), "b": torch.zeros(3)})
    assert len(Measurements({})) == 0
