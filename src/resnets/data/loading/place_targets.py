"""Targets in pixels of an image as targets in pixels of the input that is made of it, without augmentation."""

from __future__ import annotations

from typing import Any

import torch

from resnets.data.image.placement import Placement
from resnets.nested_tensors import map_tensors


def place(target: Any, placement: Placement, *, outside: int = 0) -> Any:
    """The target with its boxes, key points and masks (torchvision's `tv_tensors`) moved from the image into the input.

    Args:
        outside: the value of masks where the input shows nothing of the image.
    """
    from torchvision import tv_tensors  # here, since it takes two seconds

    def move(value: Any) -> Any:
        plain = value.as_subclass(torch.Tensor)
        if isinstance(value, tv_tensors.Mask):
            return tv_tensors.Mask(placement.mask_to_input(plain, outside))
        moved = placement.to_input(plain.double()).float()
        if isinstance(value, tv_tensors.KeyPoints):
            return tv_tensors.KeyPoints(moved, canvas_size=placement.size)
        assert value.format is tv_tensors.BoundingBoxFormat.XYXY, value.format
        return tv_tensors.BoundingBoxes(moved, format=value.format, canvas_size=placement.size)

    return map_tensors(target, tv_tensors.TVTensor, move)
