"""A small set of images and a network that knows most of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.datasets.dataset import Sample
from resnets.data.image.preprocess import Preprocess
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.weights.checkpoint import Checkpoint, save

COLORS = {"red": (190, 60, 60), "green": (60, 170, 70), "blue": (70, 70, 180)}
PER_CLASS = 6


@dataclass(frozen=True)
class World:
    """Images in class folders below `root`, of several sizes, and a checkpoint that was made for them."""

    root: Path
    data: Path
    checkpoint: Path
    samples: list[Sample]

    @property
    def paths(self) -> list[str]:
        return [sample.path for sample in self.samples]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    samples = []
    for label, color in COLORS.items():
        (root / "data" / label).mkdir(parents=True)
        for number in range(PER_CLASS):
            shape = [(40, 52), (52, 40), (48, 48)][number % 3]
            pixels = np.clip(random.normal(color, 70, (*shape, 3)), 0, 255).astype(np.uint8)
            path = root / "data" / label / f"{number}.png"
            Image.fromarray(pixels).save(path)
            samples.append(Sample(str(path), (label,)))
    knowing(root / "net.safetensors", samples)
    return World(root, root / "data", root / "net.safetensors", samples)


def knowing(path: Path, samples: list[Sample], *, classes: tuple[str, ...] = tuple(COLORS), seed: int = 0) -> None:
    """Save a network with random features, whose head tells the classes apart by the nearest mean of them."""
    torch.manual_seed(seed)
    spec = zoo.get_spec("tiny", num_classes=len(classes))
    net, preprocess = build(spec).eval(), Preprocess.imagenet(32)
    with torch.no_grad():
        vectors = net.forward_pooled(torch.stack([preprocess.load(sample.path) for sample in samples]))
        middle = vectors.mean(0)
        vectors -= middle
        means = torch.stack([vectors[[sample.label == name for sample in samples]].mean(0) for name in classes])
        # Logits of about -2 to 2: sure of most images and wrong about some.
        net.head.fc.weight.copy_(means * 2 / (vectors @ means.T).std())
        net.head.fc.bias.copy_(-net.head.fc.weight @ middle)
    save(
        path,
        Checkpoint(spec, preprocess, classes, net.state_dict(), fitted={"temperature": 1.5}, metrics={"top1": 0.5}),
    )


@pytest.fixture
def know() -> Callable[..., None]:
    """The function `knowing`, for tests that need another network."""
    return knowing
