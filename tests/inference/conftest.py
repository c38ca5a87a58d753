"""A small network whose norms fit its images, and a home of its own for what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from resnets.models import zoo
from resnets.models.resnet import ResNet

SHAPE = (4, 3, 32, 32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "openvino"


@pytest.fixture(scope="session")
def images() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).contiguous(memory_format=torch.channels_last)


@pytest.fixture(scope="session")
def net(images: Tensor) -> ResNet:
    torch.manual_seed(0)
    net = zoo.build("tiny", num_classes=7)
    with torch.no_grad():
        for _ in range(40):
            net.train()(images)
    return net.eval().to(memory_format=torch.channels_last)
