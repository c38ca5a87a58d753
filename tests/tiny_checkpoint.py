"""A checkpoint of a small network whose norms fit its images, in files that tests export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from resnets.data.image.preprocess import Preprocess
from resnets.inference.benchmark import calibrate_batch_norms_
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.tasks.base import Task
from resnets.tasks.classification.task import Classification
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = ("cat", 'a "dog"', "<Übermut>", "owl")
SIZE = (45, 61)  # odd, and not square


def colored_images(count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth colored images of odd sizes, uint8 (H, W, 3)."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(count):
        small = torch.from_numpy(random.uniform(0, 255, (1, 3, 5, 4))).float()
        size = (51 + 6 * index, 97 - 4 * index)
        image = torch.nn.functional.interpolate(small, size=size, mode="bicubic")[0]
        found.append(image.clamp(0, 255).byte().permute(1, 2, 0).numpy())
    return found


def write(
    path: Path,
    preprocess: Preprocess | None = None,
    task: Task | None = None,
    name: str = "tiny",
    spec: ResNetSpec | None = None,
    **provenance: object,
) -> Checkpoint:
    """Write the checkpoint of a network with random weights and norms that fit `colored_images`."""
    task = task or Classification(NAMES, fitted={"temperature": 1.75})
    preprocess = preprocess or Preprocess(size=SIZE, resize_to=67)
    spec = replace(spec or zoo.get_spec(name), num_classes=len(task.class_names), in_channels=preprocess.channels)
    torch.manual_seed(0)
    net = task.build(spec).eval()
    images = torch.stack([preprocess(image) for image in colored_images(8)])
    net = calibrate_batch_norms_(net, images)
    checkpoint = Checkpoint(
        spec, preprocess, task.class_names, net.state_dict(), task=task.name, fitted=task.fitted,
        metrics={"top1": 0.5, "protocol": "50 images"}, provenance={"recipe": "scratch", **provenance},
    )  # fmt: skip
    checkpoints.save(path, checkpoint)
    return checkpoint
