"""Augmentation that depends on the step of the training: the size of the images of a batch, and the images of a mosaic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from resnets.data.loading.epoch_order import EpochStep
from resnets.data.loading.mosaic import MosaicDraw, draw_mosaic, mosaic
from resnets.data.loading.multiscale import training_size

# Of the size of an image alone: the four corners of the result show about half of the area of each of its images.
MOSAIC_SCALE = 0.7

Transform = Callable[..., Any]


class Key(NamedTuple):
    """Of an example in the run: the step is within the epoch, the position in its order; `image` is the index of its image."""

    epoch: int
    step: int
    position: int
    image: int


class ScheduledAugmentation:
    """Multi-scale training and mosaics, as pure functions of the seed and of the key of an example.

    Args:
        transform_of: from a side in pixels, the transform of images that are to fit into a square of it.
        imgsz: the side, in pixels; with `multiscale` that about which `training_size` draws.
        seed: of the run.
        num_images: of which the partners of a mosaic are drawn.
        multiscale: whether the size changes every ten steps.
        mosaic: probability that an example is made of four images.
        mosaic_end: the first step without mosaics.
        fill: RGB from 0 to 255, where a mosaic has no image.
    """

    def __init__(
        self,
        transform_of: Callable[[int], Transform],
        *,
        imgsz: int,
        seed: int,
        num_images: int,
        multiscale: bool = False,
        mosaic: float = 0.0,
        mosaic_end: EpochStep = EpochStep(),
        fill: Sequence[int] = (0, 0, 0),
    ) -> None:
        self.transform_of, self.imgsz, self.seed, self.num_images = transform_of, imgsz, seed, num_images
        self.multiscale, self.mosaic, self.mosaic_end, self.fill = multiscale, mosaic, mosaic_end, tuple(fill)
        self._transforms: dict[int, Transform] = {}

    def indices(self, key: Key) -> tuple[int, ...]:
        """Of the images that an example is made of: its own, and three others for a mosaic."""
        draw = self._draw(key)
        return (key.image,) if draw is None else (key.image, *draw.partners)

    def transform(self, key: Key) -> Transform:
        """The augmentation of each image of an example."""
        size = self._size(key)
        return self._of_side(size if self._draw(key) is None else round(MOSAIC_SCALE * size))

    def join(self, key: Key, examples: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Any]:
        """The example: the one image with its target, or the mosaic of four."""
        draw = self._draw(key)
        if draw is None:
            return examples[0]
        images, targets = zip(*examples, strict=True)
        size = self._size(key)
        return mosaic(images, targets, size=(size, size), center=draw.center, fill=self.fill)

    def _size(self, key: Key) -> int:
        if not self.multiscale:
            return self.imgsz
        return training_size(self.imgsz, seed=self.seed, epoch=key.epoch, step=key.step)

    def _draw(self, key: Key) -> MosaicDraw | None:
        if (key.epoch, key.step) >= self.mosaic_end:
            return None
        return draw_mosaic(self.mosaic, self.num_images, seed=self.seed, epoch=key.epoch, position=key.position)

    def _of_side(self, side: int) -> Transform:
        if side not in self._transforms:
            self._transforms[side] = self.transform_of(side)
        return self._transforms[side]
