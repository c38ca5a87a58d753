"""A detector with random weights, in a checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnets.data.image.preprocess import Preprocess
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint

NAMES = ("cat", "dog", "owl")


def saved(path: Path, name: str) -> nn.Module:
    """A detector of three classes with random weights, in a checkpoint, with anchors of its data."""
    torch.manual_seed(5)
    settings, spec = zoo.get(name)
    anchors: dict[str, Any] = {"anchor_sizes": (8.0, 16.0, 32.0, 64.0, 128.0)}
    if settings.architecture == "yolov3":
        anchors = {"anchors": tuple(float(side) for side in range(8, 26))}
    settings = dataclasses.replace(settings, **anchors)
    model = build_detector(settings, spec, len(NAMES))
    own = {"task": "detection", "config": dataclasses.asdict(settings)}
    checkpoints.save(path, Checkpoint(spec, Preprocess(size=(64, 64)), NAMES, model.state_dict(), **own))
    return model.eval()
