"""Images and checkpoints for the functions that the commands call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.weights.checkpoint import Checkpoint, save

CLASSES = ("ant", "bee")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: `data/CLASS/N.png`, and the checkpoints `a.safetensors` and `b.safetensors`."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for label in CLASSES:
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(random.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(f"data/{label}/{number}.png")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        model = zoo.build("tiny", num_classes=2)
        spec = zoo.get_spec("tiny", num_classes=2)
        save(tmp_path / f"{name}.safetensors", Checkpoint(spec, Preprocess.imagenet(32), CLASSES, model.state_dict()))
    return tmp_path
