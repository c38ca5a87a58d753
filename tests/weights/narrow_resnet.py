"""torchvision's ResNet with an eighth of its channels, whose file of half a megabyte is read and written at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class NarrowResNet(ResNet):
    """The tensors of ResNet-18, or of one with other numbers of blocks, by their names; narrow but for the stem."""

    def __init__(self, num_classes: int, num_blocks: Sequence[int] = (2, 2, 2, 2)) -> None:
        super().__init__(BasicBlock, list(num_blocks))
        self.fc = nn.Linear(self.inplanes, num_classes)

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **more: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *arguments, **more)
