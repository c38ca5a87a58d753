"""Small images with known objects, for the tests of all formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resnets.data.object_datasets.object_masks import Polygons, encode
from resnets.data.object_datasets.objects import ImageObjects, Object

WIDTH, HEIGHT = 40, 24


def save_image(path: Path, width: int = WIDTH, height: int = HEIGHT, orientation: int = 1) -> Path:
    """An image of noise, whose EXIF data state the orientation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def some_objects() -> ImageObjects:
    """Objects of all kinds: a box, a polygon, run lengths, a crowd."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:9, 4:20] = True
    mask[5, 4] = False
    polygon = Polygons(((2.0, 3.0, 10.5, 3.0, 10.5, 12.25, 2.0, 9.0),))
    two = Polygons((*polygon.points, (20.0, 3.0, 30.0, 3.0, 25.0, 9.0)))
    return ImageObjects(
        (
            Object("cat", (1.0, 2.0, 30.25, 20.0)),
            Object("dog", polygon.box(), polygon),
            Object("cat", (4.0, 3.0, 20.0, 9.0), encode(mask)),
            Object("dog", two.box(), two),
            Object("dog", (30.0, 15.0, 40.0, 24.0), crowd=True),
        ),
        (HEIGHT, WIDTH),
    )


def boxes(objects: Sequence[Object]) -> np.ndarray:
    return np.array([each.box for each in objects], dtype=np.float64).reshape(-1, 4)
