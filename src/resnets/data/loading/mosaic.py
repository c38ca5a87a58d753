"""Mosaic: a training image made of four, which meet at a random point (Bochkovskiy et al. 2020, YOLOv4, section 3.4)."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import tv_tensors

from resnets.data.loading.augmentation import derive_seed, visible_objects

CENTER = (0.3, 0.7)  # where the four images meet, in fractions of the height and of the width

# Of the area of a box: less of an object does not show its class, and its box would be learned as a whole object.
MIN_VISIBLE = 0.1

Target = dict[str, Any]


class MosaicDraw(NamedTuple):
    """The random numbers of a mosaic: the indices of the other three images, and the fractions of its center, y and x."""

    partners: tuple[int, int, int]
    center: tuple[float, float]


def draw_mosaic(probability: float, num_images: int, *, seed: int, epoch: int, position: int) -> MosaicDraw | None:
    """The partners of the image at `position` in the order of the epoch, of `num_images`: a pure function of its arguments.
    None: no mosaic is made of it.
    """
    generator = random.Random(derive_seed(seed, epoch, position, "mosaic"))
    if generator.random() >= probability:
        return None
    first, second, third = (generator.randrange(num_images) for _ in range(3))
    return MosaicDraw((first, second, third), (generator.uniform(*CENTER), generator.uniform(*CENTER)))


def mosaic(
    images: Sequence[Tensor],
    targets: Sequence[Mapping[str, Any]],
    *,
    size: tuple[int, int],
    center: tuple[float, float],
    fill: Sequence[int],
) -> tuple[tv_tensors.Image, Target]:
    """One image of four: the corner of each meets the center, and what lies outside of the result is cut off.

    Args:
        images: four images (3, h, w), uint8, above left, above right, below left and below right. They are not resized: with
            images of about `size`, only a quarter of each is seen; of half of it, nearly all.
        targets: of each image "boxes" (`tv_tensors.BoundingBoxes`, XYXY), "labels" (n,) and, if all have them, "masks"
            (`tv_tensors.Mask`, (n, h, w)).
        size: height and width of the result.
        center: y and x of the center in fractions of `size`.
        fill: the color where there is no image.

    Returns:
        The image, and the target with the objects of which at least `MIN_VISIBLE` is left, cut as `visible_objects` does.
    """
    y, x = (round(fraction * side) for fraction, side in zip(center, size, strict=True))
    canvas = torch.tensor(fill, dtype=images[0].dtype)[:, None, None].repeat(1, *size)
    parts: list[Target] = []
    for index, (image, target) in enumerate(zip(images, targets, strict=True)):
        height, width = image.shape[-2:]
        top, left = y - height if index < 2 else y, x - width if index % 2 == 0 else x
        _paste(canvas, image, top, left)
        part = dict(target) | {"boxes": target["boxes"].as_subclass(Tensor) + torch.tensor([left, top, left, top])}
        if "masks" in target:
            part["masks"] = torch.zeros((len(target["masks"]), *size), dtype=target["masks"].dtype)
            _paste(part["masks"], target["masks"], top, left)
        parts.append(part)
    boxes = torch.cat([part["boxes"] for part in parts])
    height, width = size
    inside = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height, width, height]))
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (inside, boxes)]
    seen = areas[0] >= MIN_VISIBLE * areas[1]
    joined: Target = {
        "boxes": tv_tensors.BoundingBoxes(boxes[seen], format="XYXY", canvas_size=size),
        "labels": torch.cat([part["labels"] for part in parts])[seen],
    }
    if all("masks" in part for part in parts):
        joined["masks"] = tv_tensors.Mask(torch.cat([part["masks"] for part in parts])[seen])
    return visible_objects()(tv_tensors.Image(canvas), joined)


def _paste(canvas: Tensor, image: Tensor, top: int, left: int) -> None:
    """Write the part of `image` (..., h, w) that lies within `canvas` (..., H, W)."""
    y1, x1 = max(top, 0), max(left, 0)
    part = image[..., y1 - top : canvas.shape[-2] - top, x1 - left : canvas.shape[-1] - left]
    canvas[..., y1 : y1 + part.shape[-2], x1 : x1 + part.shape[-1]] = part.as_subclass(Tensor)
