"""Files of segmenters that other libraries wrote, with random weights and statistics."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import segmentation as torchvision_models

from resnets.weights.segmentation import smp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its other dependencies
    import segmentation_models_pytorch as smp_models


def torchvision_file(path: Path, name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        net = getattr(torchvision_models, name)(weights=None, weights_backbone=None, **{"num_classes": 3, **arguments})
    return _save_random(path, net)


def smp_file(path: Path, architecture: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        net = getattr(smp_models, smp.CLASSES[architecture])("resnet18", encoder_weights=None, classes=3, **arguments)
    return _save_random(path, net)


def _save_random(path: Path, net: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    net = net.to_empty(device="cpu").eval()
    for key, tensor in net.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.8, 1.2)
        elif tensor.is_floating_point():
            tensor.uniform_(-1, 1).mul_((3 / max(tensor[0].numel(), 3)) ** 0.5)
        else:
            tensor.zero_()
    torch.save(net.state_dict(), path)
    return net
