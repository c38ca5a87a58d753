"""Tensors within lists, tuples and dictionaries."""

from __future__ import annotations

from typing import NamedTuple

import torch

from resnets.nested_tensors import map_tensors, slice_examples


class Boxes(NamedTuple):
    boxes: list[torch.Tensor]
    count: int


def test_a_function_reaches_all_tensors() -> None:
    value = {"a": [torch.ones(2), "text"], "b": (torch.ones(1), Boxes([torch.ones(3)], 4))}
    doubled = map_tensors(value, torch.Tensor, lambda tensor: 2 * tensor)
    assert doubled["a"][0].tolist() == [2, 2]
    assert doubled["a"][1] == "text"
    assert isinstance(doubled["b"][1], Boxes)
    assert (doubled["b"][1].boxes[0].tolist(), doubled["b"][1].count) == ([2, 2, 2], 4)


def test_the_outputs_of_one_image_are_cut_from_those_of_a_batch() -> None:
    """A detector returns a dictionary for each image, whose tensors have a row for each object."""
    objects = [{"boxes": torch.full((count, 4), float(count))} for count in range(3)]
    assert slice_examples(objects, 1, 2)[0]["boxes"].tolist() == [[1.0] * 4]
    whole = Boxes(objects, 3)  # type: ignore[arg-type]
    assert slice_examples(whole, 2, 3).boxes == [objects[2]]
    assert slice_examples({"logits": torch.arange(6).view(3, 2)}, 2, 3)["logits"].tolist() == [[4, 5]]
