"""A network and images for the commands that use a trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights.checkpoint import Checkpoint, save

CLASSES = ("ant", "bee", "größe")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that becomes the working one: `data/CLASS/N.png`, and the checkpoints `one` and `two`."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index, label in enumerate(CLASSES):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(5):
            pixels = random.normal(90 + 60 * index, 50, (34 + number, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        spec = zoo.get_spec("tiny", num_classes=3)
        tensors = build(spec).state_dict()
        save(tmp_path / f"{name}.safetensors", Checkpoint(spec, Preprocess.imagenet(32), CLASSES, tensors))
    return tmp_path
