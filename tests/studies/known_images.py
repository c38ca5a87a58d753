"""Two classes of small images, and networks that know them: random ones whose last layer is set to the means of the classes."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import one_hot

from resnets.data.image.preprocess import Preprocess
from resnets.inference.benchmark import calibrate_batch_norms_
from resnets.models import zoo
from resnets.models.build_network import build
from resnets.studies import inputs
from resnets.studies.inputs import ImageSet, StudyNetwork
from resnets.weights import checkpoint as checkpoints

CLASSES = ("ant", "bee")
COUNT = 60  # images of each class
PREPROCESS = Preprocess(size=(16, 16), resize="stretch")


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="resnets-test-")


@functools.cache
def folder() -> Path:
    """The class folders; not to be changed."""
    random, home = np.random.default_rng(0), Path(_home().name, "images")
    for number, label in enumerate(CLASSES):
        (home / label).mkdir(parents=True)
        for index in range(COUNT):
            pixels = random.normal(80 + 70 * number, 45, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / label / f"{index}.png")
    return home


@functools.cache
def checkpoint_file(name: str = "cifar_resnet20", blocks: int = 2, seed: int = 0) -> Path:
    """A checkpoint with `blocks` narrow blocks a stage; not to be changed."""
    torch.manual_seed(seed)
    changes: dict[str, Any] = {"num_blocks": (blocks,) * 3, "stem_channels": 4, "out_channels": (4, 6, 8)}
    spec = zoo.get_spec(name, num_classes=2, imgsz=16, **changes)
    paths = sorted(folder().rglob("*.png"))
    images = torch.stack([PREPROCESS.load(path) for path in paths])
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    net = calibrate_batch_norms_(build(spec).eval(), images)
    with torch.no_grad():
        features = net.forward_pooled(images)
        means = (one_hot(labels).T.float() @ features) / COUNT
        # The nearest mean has the largest logit.
        net.fc.weight.copy_(means)
        net.fc.bias.copy_(-means.square().sum(dim=1) / 2)
    path = Path(_home().name, f"{name}-{blocks}-{seed}.safetensors")
    checkpoints.save(path, checkpoints.Checkpoint(spec, PREPROCESS, CLASSES, net.state_dict()))
    return path


def load(*files: Path) -> tuple[list[StudyNetwork], ImageSet]:
    """The networks, and all images."""
    networks = inputs.load_networks(files)
    return networks, inputs.read_images(folder(), 2 * COUNT, networks)
