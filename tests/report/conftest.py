"""The run directory of a task that the report does not know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def make_rows(epochs: int) -> list[dict]:
    return [
        {
            "epoch": epoch,
            "time_seconds": 61.5 * epoch,
            "train/loss": 2.0 / epoch,
            "val/loss": 2.2 / epoch,
            "val/mean_average_precision": epoch / (epochs + 1),
            "lr": 0.1 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.fixture
def rows() -> Callable[[int], list[dict]]:
    """Give a function that makes rows of `metrics.jsonl`, with one metric that only the validation images have."""
    return make_rows


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory without figures and page."""
    run = tmp_path / "a run"
    run.mkdir()
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in make_rows(3)))
    (run / "recipe.toml").write_text('name = "scratch"  # recipe scratch\n\n[optim]\nlr = 0.125  # --lr\n')
    environment = {"versions": {"torch": "2.15.0+test"}, "command": ["resnets", "train", "a b"], "gpu": None}
    (run / "environment.json").write_text(json.dumps(environment))
    labels = ["ant", "ant", "bee", "ant"]
    lines = [f"{k}.png,0,{label},{'train' if k else 'val'},\n" for k, label in enumerate(labels)]
    (run / "split.csv").write_text("path,sha256,label,split,group\n" + "".join(lines))
    return run


@pytest.fixture
def pixels() -> Callable[[Path], np.ndarray]:
    """Give a function from an image's path to its pixels, int (H, W, 3)."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    return read
