"""Small images with known masks, for the tests of all layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tests.data.object_datasets.object_images import HEIGHT, WIDTH, save_image

from resnets.data.mask_datasets.read_voc_masks import palette


def pattern(*values: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 (height, width): the values as vertical stripes of different widths, the first one the widest."""
    edges = np.linspace(0, 1, len(values) + 1) ** 0.7
    columns = np.searchsorted(edges[1:-1], (np.arange(width) + 0.5) / width)
    return np.broadcast_to(np.array(values, np.uint8)[columns], (height, width)).copy()


def save_mask(path: Path, mask: np.ndarray, mode: str = "L", colors: Sequence[tuple[int, int, int]] = ()) -> Path:
    """A mask (H, W) as a file of mode L, P with a palette, or 1; or with the color of each index in RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "RGB":
        Image.fromarray(np.array(colors, np.uint8)[mask]).save(path)
        return path
    if mode == "1":
        Image.fromarray(mask.astype(bool)).save(path)
        return path
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette([part for color in palette() for part in color])
    image.save(path)
    return path


def save_pair(root: Path, stem: str, mask: np.ndarray, *, split: str = "", mode: str = "L", end: str = "") -> None:
    """`images/SPLIT/STEM.jpg` and `masks/SPLIT/STEM[end].png`."""
    save_image(root / "images" / split / f"{stem}.jpg", mask.shape[1], mask.shape[0])
    save_mask(root / "masks" / split / f"{stem}{end}.png", mask, mode)
