"""The views of an image that are given to a detector: other sizes, the mirror image, and tiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from resnets.data.image.placement import Placement
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.detection.suppression import check_method

MIN_SIDE = 32  # of a view and of a tile, in pixels: the largest stride of most networks
MAX_OVERLAP = 0.9  # of tiles

Region = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the image


class View(NamedTuple):
    """One input.

    Attributes:
        pixels: (C, h, w), normalized.
        placement: of the whole image, of which the input shows `region`.
        mirrored: whether left and right of the input are exchanged.
    """

    pixels: Tensor
    placement: Placement
    region: Region
    mirrored: bool


@dataclass(frozen=True)
class Views:
    """Which views of an image there are, and what is done with overlapping boxes. The default is one view, as in training.

    Attributes:
        scales: longer sides of a view in pixels, in place of that of the model.
        flip: whether the mirror image of each view is one, too.
        tile: side in pixels of the image of overlapping squares that are views beside the whole image; None for no tiles.
        tile_overlap: of tiles beside each other, as a fraction of `tile`.
        nms: how a detector suppresses overlapping boxes in each view; see `models/detection/suppression.py`.
    """

    scales: tuple[int, ...] = ()
    flip: bool = False
    tile: int | None = None
    tile_overlap: float = 0.2
    nms: str = "hard"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> tuple[Views, dict[str, Any]]:
        """The views of the options with the names of the attributes, and the other options.

        Raises:
            UserError: a value is out of range, or has no effect.
        """
        names = {field.name for field in fields(cls)}
        given = {name: value for name, value in options.items() if value is not None}
        own = {name: value for name, value in given.items() if name in names}
        if "tile_overlap" in own and "tile" not in own:
            raise UserError(f"`tile_overlap={own['tile_overlap']}` has no effect without `tile`.")
        views = cls(**own | {"scales": tuple(own.get("scales", ()))})
        views.check()
        return views, {name: value for name, value in given.items() if name not in names}

    def check(self) -> None:
        """Raise UserError for a value that is out of range."""
        for side in self.scales:
            if not isinstance(side, int) or side < MIN_SIDE:
                raise UserError(f"`scales` are sides in pixels of at least {MIN_SIDE}; received {side}.")
        if self.tile is not None and (not isinstance(self.tile, int) or self.tile < MIN_SIDE):
            raise UserError(f"`tile` is a side in pixels of at least {MIN_SIDE}; received {self.tile}.")
        if not 0 <= self.tile_overlap <= MAX_OVERLAP:
            raise UserError(f"`tile_overlap` is a fraction from 0 to {MAX_OVERLAP}; received {self.tile_overlap}.")
        check_method(self.nms)

    @property
    def is_single(self) -> bool:
        """Whether there is one view of an image, as in training."""
        return not self.scales and not self.flip and self.tile is None

    @property
    def of_region(self) -> int:
        """How many views there are of the whole image, or of a tile."""
        return max(len(self.scales), 1) * (1 + self.flip)

    def __str__(self) -> str:
        parts = (
            [] if self.tile is None else [f"tiles of {self.tile} pixels that overlap by {100 * self.tile_overlap:g} %"]
        )
        parts.append("the whole image" if self.tile is None else "and the whole image")
        parts += [f"at longer sides of {', '.join(map(str, self.scales))}"] if self.scales else []
        return ", ".join(parts + ["each also mirrored"] * self.flip)

    def regions(self, size: tuple[int, int]) -> list[Region]:
        """The regions of an image of that height and width: the whole image, and then its tiles."""
        height, width = size
        whole = (0, 0, width, height)
        if self.tile is None or max(size) <= self.tile:
            return [whole]
        rows, columns = (
            [(start, min(start + self.tile, side)) for start in _starts(side, self.tile, self.tile_overlap)]
            for side in size
        )
        return [whole, *((left, top, right, bottom) for top, bottom in rows for left, right in columns)]

    def of_image(
        self, image: np.ndarray | Image.Image, size: tuple[int, int], preprocess: Preprocess
    ) -> Iterator[View]:
        """The views of an image one after the other, each made when it is asked for.

        Args:
            image, size: as of `Preprocess.read_sized`; of the full size if there are tiles.
        """
        for each in [preprocess.with_size(side) for side in self.scales] or [preprocess]:
            for region in self.regions(size):
                left, top, right, bottom = region
                is_whole = region == (0, 0, *size[::-1])
                pixels, placement = (
                    each.place(image, size)
                    if is_whole
                    else each.place(_crop(image, region), (bottom - top, right - left))
                )
                scale, offset = placement.scale, placement.offset
                offset = offset[0] - top * scale[0], offset[1] - left * scale[1]
                placement = replace(placement, original=size, offset=offset)
                yield View(pixels, placement, region, mirrored=False)
                if self.flip:
                    yield View(pixels.flip(-1), placement, region, mirrored=True)


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """The first pixels of tiles that cover `side` pixels evenly and overlap by at least that fraction."""
    if side <= tile:
        return [0]
    count = math.ceil((side - tile) / max(tile * (1 - overlap), 1)) + 1
    return [round(index * (side - tile) / (count - 1)) for index in range(count)]


def _crop(image: np.ndarray | Image.Image, region: Region) -> np.ndarray | Image.Image:
    left, top, right, bottom = region
    return image.crop(region) if isinstance(image, Image.Image) else image[top:bottom, left:right]
