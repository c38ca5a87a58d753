from __future__ import annotations

import torch
from torchvision import tv_tensors

from resnets.data.image.placement import Placement
from resnets.data.loading.place_targets import place


def test_tensors_with_positions_are_moved_and_others_are_not() -> None:
    boxes = tv_tensors.BoundingBoxes([[0, 0, 10, 20]], format="XYXY", canvas_size=(40, 40))
    target = {
        "boxes": boxes,
        "points": tv_tensors.KeyPoints([[4, 6]], canvas_size=(40, 40)),
        "mask": tv_tensors.Mask(torch.ones(1, 40, 40, dtype=torch.uint8)),
        "labels": torch.tensor([3]),
    }
    placed = place(target, Placement((40, 40), (20, 30), (0.5, 0.5), (0.0, 10.0)), outside=9)
    assert placed["boxes"].tolist() == [[10, 0, 15, 10]]
    assert placed["points"].tolist() == [[12, 3]]
    assert (placed["boxes"].canvas_size, placed["points"].canvas_size) == ((20, 30), (20, 30))
    assert placed["mask"].shape == (1, 20, 30)
    assert placed["mask"][0, 0].tolist() == [9] * 10 + [1] * 20
    assert placed["labels"] is target["labels"]
