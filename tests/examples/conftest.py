"""A few images, and a way to run an example as a reader would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLASSES = ("daisy", "rose", "tulip")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of 3 classes with 4 images each, none of them square."""
    random = np.random.default_rng(0)
    for index, label in enumerate(CLASSES):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(4):
            pixels = random.normal(60 + 60 * index, 20, (20 + number, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def example(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Give a function that runs `python examples/NAME WORDS`."""

    def run(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, EXAMPLES / name, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples can be imported, as they import each other."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
