"""A small network whose norms fit its images, a model with two outputs, and a home of its own for what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resnets.inference.static_graph import Agreement, StaticGraph
from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.tasks.classification.static_graph import classifier_graph

SHAPE = (4, 3, 32, 32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "openvino"


@pytest.fixture(scope="module")
def home_of_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for all tests of a file that need no empty one."""
    return tmp_path_factory.mktemp("home")


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


@pytest.fixture(scope="session")
def graph(net: ResNet) -> StaticGraph:
    return classifier_graph(net)


class TwoMaps(nn.Module):
    """Images (N, 3, h, w) to maps (N, 5, h / 2, w / 2) and (N, 2, h / 4, w / 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.fine, self.coarse = nn.Conv2d(8, 5, 3, padding=1), nn.Conv2d(8, 2, 3, 2, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(images)
        return self.fine(x), self.coarse(x)


class Scores(nn.Module):
    """The largest value of each fine map, which no two images share, (N, 5), and the coarse maps between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = TwoMaps()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.finish(self.maps(images))

    @staticmethod
    def finish(maps: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        fine, coarse = maps
        assert fine.dtype == coarse.dtype == torch.float32
        return fine.amax((2, 3)), coarse.sigmoid()


def largest_difference(outputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> Agreement:
    difference = max(float((one - other).abs().max()) for one, other in zip(outputs, reference, strict=True))
    return Agreement(len(outputs[0]), difference, f"within {difference:.4f}", {"largest": difference})


@pytest.fixture(scope="session")
def two_outputs() -> StaticGraph:
    torch.manual_seed(0)
    model = Scores().eval()
    with torch.no_grad():
        model.maps.stem[1].running_mean.normal_()
        model.maps.stem[1].running_var.uniform_(0.5, 2)
    return StaticGraph(model, model.maps, model.finish, largest_difference, {"fp32": 1e-4, "bf16": 0.1})
