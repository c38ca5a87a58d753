"""`Preprocess` as a module for a graph: from decoded images of any size to the input of the network.

An axis is resized by a product with a matrix of Pillow's weights (src/libImaging/Resample.c), which is computed from the size of
the image, and the result is rounded to 8 bits after each axis, as in Pillow. ONNX's Resize is not used: OpenVINO ignores its
antialiasing. Sizes and distances are integers until the last division, so that float32 is precise for images of any size, as
long as the length of an axis times its length after the resize is below 2**30: OpenVINO computes with integers of 32 bits.

A value differs from Pillow's by one gray level where the exact one is half-way between two levels, which the rounding of the
weights decides; and by two at most, where that happens along both axes, which is rare. Without
antialiasing nothing is rounded, as in `Preprocess`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.data.image.resizing import MAX_PIXELS
from resnets.errors import UserError


def build(preprocess: Preprocess, kind: str) -> nn.Module:
    """What turns images of the kind `kind` (see `resnets.inference.exported.metadata.INPUTS`) into the input of the network.

    Raises:
        UserError: `kind` is "full", and the input cannot be made in a graph; see `ResizeCrop`.
    """
    if kind == "none":
        return nn.Identity()
    resizes = kind == "full" and (preprocess.resize, preprocess.crop) != ("none", "none")
    return nn.Sequential(ResizeCrop(preprocess) if resizes else ToFloat(), Normalize(preprocess))


class ToFloat(nn.Module):
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 3, 1, 2).to(torch.float32).contiguous()


class Normalize(nn.Module):
    """RGB values of 0 to 255, (N, 3, h, w) -> the input of the network, (N, C, h, w), by `Preprocess.normalize`."""

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = replace(preprocess)
        self.preprocess.normalize(torch.zeros(3, *preprocess.size))  # makes its constants, which a trace could not keep

    def forward(self, pixels: Tensor) -> Tensor:
        return self.preprocess.normalize(pixels)


@dataclass(frozen=True)
class Axis:
    """An axis of an image, and the pixels of the result along it. Those that depend on the image are tensors of shape ().

    Attributes:
        positions: 0, 1, ... for each pixel of the image.
        start, used: the first pixel and the number of those that are resized; others are cut off.
        resized: the length after the resize.
        first: the resized pixel that is the first one of the result; negative where the result is padded.
        count: the length of the result.
    """

    positions: Tensor
    start: Tensor | int
    used: Tensor
    resized: Tensor
    first: Tensor | int
    count: int

    def _wanted(self) -> Tensor:
        return torch.arange(self.count, device=self.positions.device) + self.first

    def resized_pixels(self) -> Tensor:
        """The resized pixel that each pixel of the result is, (count,); for padding, the next one."""
        return torch.minimum(self._wanted().clamp(min=0), self.resized - 1)

    def is_inside(self) -> Tensor:
        """Which pixels of the result are not padding, (count,)."""
        wanted = self._wanted()
        return (wanted >= 0) & (wanted < self.resized)

    def weights(self, interpolation: str, antialias: bool) -> Tensor:
        """The weight of each pixel of the image in each pixel of the result, (count, length)."""
        sources = 2 * (self.positions - self.start) + 1  # centers in units of half a pixel
        centers = 2 * self.resized_pixels()[:, None] + 1
        distances = sources * self.resized - centers * self.used
        scale = torch.maximum(self.resized, self.used) if antialias else self.resized
        values = _FILTERS[interpolation](torch.abs(distances).to(torch.float32) / (2 * scale).to(torch.float32))
        values = values * ((sources > 0) & (sources < 2 * self.used)).to(torch.float32)
        return values / values.sum(1, keepdim=True)


class ResizeCrop(nn.Module):
    """uint8 RGB (N, H, W, 3) of any size -> (N, 3, height, width), resized and cropped by `Preprocess`, float32 from 0 to 255.

    Raises:
        UserError: the size of the result depends on the image; or the interpolation is "nearest", for which Pillow adds up
            rounded steps in float64, which OpenVINO does not have: a position between two pixels would be the other one.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        if preprocess.resize == "fit" or (preprocess.crop == "none" and preprocess.resize == "shorter"):
            raise UserError(
                f"`preprocess=full` needs an input of one size for all images; here it depends on the image "
                f"({preprocess.describe().partition(',')[0]}). Use `preprocess=normalize`, and resize before."
            )
        if preprocess.interpolation == "nearest" and preprocess.resize != "none":
            raise UserError(
                "`preprocess=full` cannot resize by 'nearest' exactly as Pillow does. Use `preprocess=normalize`, and resize "
                "before."
            )
        self.preprocess = preprocess

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = self.axes(images)
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.preprocess.resize == "none":
            pixels = pixels.index_select(3, columns.resized_pixels()).index_select(2, rows.resized_pixels())
        else:
            pixels = self._resized(pixels, rows, columns)
        if self.preprocess.resize not in ("none", "pad"):
            return pixels
        color = self.preprocess.background if self.preprocess.resize == "pad" else (0, 0, 0)
        background = torch.tensor(color, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        return torch.where(rows.is_inside()[:, None] & columns.is_inside(), pixels, background)

    def _resized(self, pixels: Tensor, rows: Axis, columns: Axis) -> Tensor:
        name, antialias = self.preprocess.interpolation, self.preprocess.antialias
        of_rows, of_columns = rows.weights(name, antialias), columns.weights(name, antialias).transpose(0, 1)
        if not antialias:
            return torch.matmul(of_rows, torch.matmul(pixels, of_columns))
        width_first = _to_8_bits(torch.matmul(of_rows, _to_8_bits(torch.matmul(pixels, of_columns))))
        if not _resizes_tall_images_height_first():
            return width_first
        height_first = _to_8_bits(torch.matmul(_to_8_bits(torch.matmul(of_rows, pixels)), of_columns))
        fewer_rows, fewer_columns = (each.used - each.resized for each in (rows, columns))
        return torch.where((fewer_rows > 0) & (fewer_rows > 2 * fewer_columns), height_first, width_first)

    def axes(self, images: Tensor) -> list[Axis]:
        """Rows and columns, by the rules of `resnets.data.image.resizing`."""
        resize, size = self.preprocess.resize, self.preprocess.size
        positions = [torch.arange(images.shape[axis], device=images.device) for axis in (1, 2)]
        lengths = [torch.ones_like(each).sum() for each in positions]
        used = lengths
        if resize == "shorter":
            used = [torch.minimum(each, self._longest(torch.minimum(*lengths))) for each in lengths]
            side = self.preprocess.resize_to or 0
            resized = [_divide(side * each, torch.minimum(*used)) for each in used]
        elif resize == "pad":
            limits = [_divide_rounded(lengths[axis] * size[1 - axis], lengths[1 - axis]) for axis in (0, 1)]
            resized = [limit.clamp(1, side) for limit, side in zip(limits, size, strict=True)]  # as in `fitted_size`
        elif resize == "stretch":
            resized = [torch.full_like(each, side) for each, side in zip(lengths, size, strict=True)]
        else:
            resized = lengths
        first = [self._first(each, side) for each, side in zip(resized, size, strict=True)]
        return [
            Axis(
                positions[axis],
                _divide(lengths[axis] - used[axis], 2),
                used[axis],
                resized[axis],
                first[axis],
                size[axis],
            )
            for axis in (0, 1)
        ]

    def _longest(self, shorter: Tensor) -> Tensor:
        """As in `resizing.center_strip_box`."""
        return max(MAX_PIXELS // (self.preprocess.resize_to or 1) ** 2, 1) * shorter

    def _first(self, resized: Tensor, side: int) -> Tensor | int:
        """As in `resizing.center_crop_corner` and `resizing.resize_pad`."""
        if self.preprocess.resize == "stretch":
            return 0
        padded = -_divide((side - resized).clamp(min=0), 2)
        return padded if self.preprocess.resize == "pad" else padded + _divide_rounded((resized - side).clamp(min=0), 2)


@functools.cache
def _resizes_tall_images_height_first() -> bool:
    """Whether the installed Pillow begins with the height where it loses more than twice as many rows as columns.

    13.0 does so, and versions before it always begin with the width. Bicubic values differ by up to 30 gray levels, which
    are clipped between the axes.
    """
    image = Image.fromarray(np.indices((40, 5)).sum(0).astype(np.uint8) % 3 % 2 * 255)
    width_first = image.resize((4, 40), Image.Resampling.BICUBIC).resize((4, 20), Image.Resampling.BICUBIC)
    return image.resize((4, 20), Image.Resampling.BICUBIC).tobytes() != width_first.tobytes()


def _to_8_bits(values: Tensor) -> Tensor:
    """Rounded half up and clipped, as Pillow does."""
    return torch.floor(values + 0.5).clamp(0, 255)


def _divide(value: Tensor, by: Tensor | int) -> Tensor:
    return value // by


def _divide_rounded(value: Tensor, by: Tensor | int) -> Tensor:
    """Rounded half to even, of integers that are not negative."""
    quotient = _divide(2 * value + by, 2 * by)
    is_half = 2 * quotient * by == 2 * value + by
    return quotient - is_half.to(torch.int64) * (quotient % 2)


def _triangle(distances: Tensor) -> Tensor:
    return torch.relu(1 - distances)


def _cubic(distances: Tensor) -> Tensor:
    """Keys 1981 with a = -0.5."""
    near = (1.5 * distances - 2.5) * distances * distances + 1
    far = -0.5 * (distances - 1) * (distances - 2) * (distances - 2)
    return torch.where(distances < 1, near, torch.where(distances < 2, far, 0.0))


def _lanczos(distances: Tensor) -> Tensor:
    """sinc(x) sinc(x / 3)."""
    angles = math.pi * torch.where(distances == 0, 1.0, distances)
    values = 3 * torch.sin(angles) * torch.sin(angles / 3) / (angles * angles)
    return torch.where(distances == 0, 1.0, torch.where(distances < 3, values, 0.0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic, "lanczos": _lanczos}
