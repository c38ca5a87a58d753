"""A batch is divided as torch divides tensors, whatever its targets are."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from resnets.data.loading.batch import Batch, stack_images


class Boxes(NamedTuple):
    boxes: list[torch.Tensor]
    count: int


def made(count: int, targets: object) -> Batch:
    indices = torch.arange(count)
    return Batch(3, 7, indices, indices + 10, torch.arange(count * 3.0).reshape(count, 3, 1, 1), targets, indices + 0.5)


@pytest.mark.parametrize(("count", "parts"), [(8, 2), (7, 3), (5, 8), (4, 1)])
def test_a_batch_is_divided_as_its_tensors_are(count: int, parts: int) -> None:
    targets = {"labels": torch.arange(count), "names": [f"image {index}" for index in range(count)]}
    divided = made(count, targets).chunk(parts)
    sizes = [len(each) for each in torch.arange(count).chunk(parts)]
    assert [len(each.indices) for each in divided] == sizes
    assert [(each.epoch, each.step) for each in divided] == [(3, 7)] * len(sizes)
    whole = made(count, targets)
    for name in ("indices", "positions", "images", "weights"):
        assert torch.equal(torch.cat([getattr(each, name) for each in divided]), getattr(whole, name))
    assert torch.cat([each.targets["labels"] for each in divided]).tolist() == list(range(count))
    assert [name for each in divided for name in each.targets["names"]] == targets["names"]


def test_named_targets_keep_their_names() -> None:
    boxes = Boxes([torch.full((index, 4), float(index)) for index in range(4)], 9)
    first, second = made(4, boxes).chunk(2)
    assert isinstance(second.targets, Boxes)
    assert [len(each) for each in first.targets.boxes + second.targets.boxes] == [0, 1, 2, 3]


def test_images_of_several_sizes_are_divided_as_a_list() -> None:
    images = [torch.zeros(3, 4, 4 + index) for index in range(5)]
    divided = made(5, None)._replace(images=images).chunk(2)
    assert [[each.shape[-1] for each in part.images] for part in divided] == [[4, 5, 6], [7, 8]]


def test_only_images_of_one_size_are_stacked() -> None:
    same, other = [torch.zeros(3, 2, 2)] * 3, [torch.zeros(3, 2, 2), torch.zeros(3, 2, 3)]
    assert torch.is_tensor(stack_images(same))
    assert stack_images(other) == other
