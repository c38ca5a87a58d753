"""Small networks of every kind, in float64, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from resnets.models import zoo
from resnets.models.build_network import build
from resnets.models.resnet import ResNet

CLASSES = 5
SIZE = (75, 91)


def network(name: str, **changes: Any) -> ResNet:
    """With one narrow block a stage, a bias, and statistics of its norms that are not those of a new network."""
    torch.manual_seed(0)
    spec = zoo.get_spec(name)
    stages = range(len(spec.num_blocks))
    changes |= {"num_blocks": (1,) * len(stages), "stem_channels": 8, "out_channels": tuple(8 + 4 * k for k in stages)}
    if spec.mid_channels:
        changes["mid_channels"] = (4,) * len(stages)
    net = build(zoo.get_spec(name, num_classes=CLASSES, **changes)).double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    nn.init.normal_(net.fc.bias)
    return net


def images(size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Two of them, (2, 3, height, width), in float64."""
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
