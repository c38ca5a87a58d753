"""A few images, and a way to run an example as a reader would."""

from __future__ import annotations

import importlib
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
def few_images(images: Path) -> Path:
    """The folder with 2 images a class: one is held out, and five are a batch."""
    for path in images.glob("*/[23].png"):
        path.unlink()
    return images


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples can be imported, as they import each other."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def example(
    tmp_path: Path, beside: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Give a function that does what `python examples/NAME WORDS` does, in this process, and returns its output."""

    def run(name: str, *words: str | Path) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        importlib.import_module(Path(name).stem).main()
        return capsys.readouterr().out

    return run
