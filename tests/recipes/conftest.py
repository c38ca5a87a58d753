"""A little set of pictures that a tiny network learns in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """24 noisy pictures of 24x20 pixels in each of the folders blue, green and red."""
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / "colours" / name).mkdir(parents=True)
        for number in range(24):
            picture = np.clip(random.normal(colour, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "colours" / name / f"{number:02d}.png")
    return tmp_path / "colours"
