"""Draw a mask over its image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from resnets.data.image.decode import decode
from resnets.data.mask_datasets.image_mask import ImageMask
from resnets.data.mask_datasets.mask_classes import UNKNOWN, Color
from resnets.data.mask_datasets.read_voc_masks import palette

OPACITY = 0.6  # of the classes on an image
UNKNOWN_COLOR = (255, 0, 255)  # of values that no class has


def overlay(image: np.ndarray, indices: np.ndarray, colors: Sequence[Color]) -> np.ndarray:
    """An image, uint8 (H, W, 3), with the colors of the classes of a mask, uint8 (H, W); other indices show the image."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    mixed = image + OPACITY * (table[indices].astype(np.float32) - image)
    return np.where((indices < len(colors))[..., None], mixed.round(), image).astype(np.uint8)


def thumbnail(path: str, mask: ImageMask, side: int) -> Image.Image:
    """The image at `path` with its mask, at most `side` pixels high and wide.

    Raises:
        DecodeError: the image or the mask cannot be read.
        UserError: the mask has another size.
    """
    image = Image.fromarray(decode(path))
    indices = Image.fromarray(mask.indices())
    image.thumbnail((side, side))
    small = np.asarray(indices.resize(image.size, Image.Resampling.NEAREST))
    colors = mask.classes.colors or palette()[: len(mask.classes.names)]
    drawn = overlay(np.asarray(image), small, colors)
    drawn[small == UNKNOWN] = UNKNOWN_COLOR
    return Image.fromarray(drawn)
