"""Where an image lies in the input that is made of it, to map boxes and other positions between the two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Placement:
    """A position in pixels of the input is that of the image times `scale`, plus `offset`; all pairs are vertical, horizontal.

    Coordinates are continuous: the upper left pixel covers 0 to 1.
    """

    original: tuple[int, int]  # height and width of the image as it is shown, which is after its EXIF orientation
    size: tuple[int, int]  # height and width of the input
    scale: tuple[float, float]  # greater than 0
    offset: tuple[float, float] = (0.0, 0.0)  # in pixels of the input

    def to_input(self, positions: Tensor) -> Tensor:
        """Positions (..., 2k) as x, y, x, y, ... in pixels of the image, in pixels of the input, float32 or float64."""
        scale, offset = self._factors(positions)
        return positions * scale + offset

    def to_original(self, positions: Tensor) -> Tensor:
        """The inverse of `to_input`, clipped to the image."""
        scale, offset = self._factors(positions)
        limits = torch.tensor(self.original[::-1]).to(positions).repeat(positions.shape[-1] // 2)
        return ((positions - offset) / scale).clamp(min=0).minimum(limits)

    def _factors(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        pairs = positions.shape[-1] // 2
        scale, offset = (torch.tensor(each[::-1]).to(positions).repeat(pairs) for each in (self.scale, self.offset))
        return scale, offset

    def mask_to_input(self, masks: Tensor, outside: int = 0) -> Tensor:
        """Masks (..., H, W) of the image as masks (..., height, width) of the input, by the nearest pixel.

        Args:
            outside: the value where the input shows nothing of the image.
        """
        for axis, (length, count, scale, offset) in enumerate(
            zip(self.original, self.size, self.scale, self.offset, strict=True), start=masks.ndim - 2
        ):
            nearest = ((torch.arange(count) + 0.5 - offset) / scale).floor().long()
            masks = masks.index_select(axis, nearest.clamp(0, length - 1))
            shown = ((nearest >= 0) & (nearest < length)).view(
                [-1 if axis == each else 1 for each in range(masks.ndim)]
            )
            masks = torch.where(shown, masks, torch.tensor(outside, dtype=masks.dtype))
        return masks
