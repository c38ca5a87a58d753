"""Small images that a tiny network is trained on in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.tiny_recipe import tiny

import resnets
from resnets.recipes import registry
from resnets.recipes.override import override

COLORS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 40, 50)}


@pytest.fixture
def colors(tmp_path: Path) -> Path:
    """24 noisy images of 24x20 pixels in each of the folders blue, green and red."""
    random = np.random.default_rng(0)
    for name, color in COLORS.items():
        (tmp_path / "colors" / name).mkdir(parents=True)
        for number in range(24):
            image = np.clip(random.normal(color, 40, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / "colors" / name / f"{number:02d}.png")
    return tmp_path / "colors"


@pytest.fixture
def train_run(colors: Path) -> Callable[..., Path]:
    """Train a tiny run, without images to validate on and without a report unless they are asked for."""

    def run(name: str, *overrides: str, **values: Any) -> Path:
        recipe = tiny(registry.find("scratch"))
        for setting in ("data.val_fraction=0", "ema.decay=0.9", "track.report=false"):
            recipe = override(recipe, setting)
        result = resnets.train(
            colors, recipe=recipe, out=colors.parent / "runs", name=name, overrides=overrides, **values
        )
        assert result is not None
        return result.run

    return run
