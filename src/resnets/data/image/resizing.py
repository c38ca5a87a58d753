"""Images of 8-bit RGB brought to a size: resized by Pillow, cropped, padded.

Lengths are rounded as torchvision rounds them (torchvision/transforms/v2/functional/_geometry.py): the result equals its own
transforms on the same file. It is not asked to do it itself because importing its transforms takes as long as importing torch.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnets.data.image.decode import MAX_PIXELS

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
METHODS = {name: Image.Resampling[name.upper()] for name in INTERPOLATIONS}


def to_shorter_side(image: Image.Image, side: int, method: Image.Resampling) -> Image.Image:
    """The image with a shorter side of `side` pixels, in its own shape."""
    image = image.crop(middle(image.size, side))
    longer = side * max(image.size) // min(image.size)
    return image.resize((side, longer) if image.width < image.height else (longer, side), method)


def padded(
    image: Image.Image, size: tuple[int, int], method: Image.Resampling, background: tuple[int, int, int]
) -> Image.Image:
    """The whole image as large as fits into `size` (height, width), in the middle of the background."""
    height, width = size
    ratio = min(height / image.height, width / image.width)
    inner = [max(round(side * ratio), 1) for side in (image.height, image.width)]
    canvas = Image.new("RGB", (width, height), background)
    canvas.paste(image.resize(inner[::-1], method), ((width - inner[1]) // 2, (height - inner[0]) // 2))
    return canvas


def center(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle, on black where the image is smaller. Odd margins: round half to even, as torchvision."""
    height, width = size
    missing = max(width - image.width, 0) // 2, max(height - image.height, 0) // 2
    left = -missing[0] if width > image.width else round((image.width - width) / 2)
    top = -missing[1] if height > image.height else round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def five(image: Image.Image, size: tuple[int, int]) -> list[Image.Image]:
    """The corners from the upper left to the lower right, and the center."""
    (height, width), right, below = size, image.width - size[1], image.height - size[0]
    corners = [(0, 0), (right, 0), (0, below), (right, below)]
    return [*(image.crop((x, y, x + width, y + height)) for x, y in corners), center(image, size)]


def middle(size: tuple[int, int], side: int) -> tuple[int, int, int, int]:
    """The box of an image of (width, height) that may be resized to a shorter side of `side`: the whole of nearly every one.

    One pixel high and a million wide is a small image until its shorter side is brought to 256. Of such a strip it is the
    middle, as long as MAX_PIXELS allow.
    """
    width, height = size
    longest = max(MAX_PIXELS // side**2, 1) * min(size)
    left, top = max(width - longest, 0) // 2, max(height - longest, 0) // 2
    return left, top, left + min(width, longest), top + min(height, longest)


def image_of(image: np.ndarray | Image.Image) -> Image.Image:
    return image if isinstance(image, Image.Image) else Image.fromarray(image)


def planes(image: np.ndarray | Image.Image) -> Tensor:
    """(H, W, 3) -> (3, H, W)."""
    return torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).contiguous()
