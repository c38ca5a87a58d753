"""The table of docs/weights.md: which library reads which file, tried anew.

A reader reads a file when it takes it without another program's help and without a word by the person about single tensors,
with nothing missing and nothing left over, and gives the logits of the network that wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import keras
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from tests.in_soak import only_in_soak
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetForImageClassification

from resnets.weights import checkpoint as checkpoints
from resnets.weights.load_weights import Request, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "weights.md"
IMAGE = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
BASIC = {"layer_type": "basic", "depths": (2, 2, 2, 2), "hidden_sizes": (64, 128, 256, 512), "num_labels": 5}


@dataclass(frozen=True)
class File:
    """One kind of file: how it is written, and the name of its network for each library that wants one."""

    row: str
    make: Callable[[], nn.Module]
    save: Callable[[nn.Module, Path], Path]
    name: str


def pickled(net: nn.Module, folder: Path) -> Path:
    torch.save(net.state_dict(), folder / "net.pth")
    return folder / "net.pth"


def wrapped(net: nn.Module, folder: Path) -> Path:
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 90}, folder / "net.pth.tar")
    return folder / "net.pth.tar"


def safe(net: nn.Module, folder: Path) -> Path:
    safetensors.torch.save_file(net.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder / "model.safetensors"


def pretrained(net: nn.Module, folder: Path) -> Path:
    net.save_pretrained(folder / "hf")
    return folder / "hf"


def keras_file(suffix: str) -> Callable[[nn.Module, Path], Path]:
    def save(net: nn.Module, folder: Path) -> Path:
        path = folder / f"net{suffix}"
        net.model.save_weights(path) if suffix == ".weights.h5" else net.model.save(path)
        return path

    return save


FILES = [
    File("torchvision `.pth`", lambda: torchvision.models.resnet18(num_classes=5), pickled, "resnet18"),
    File("the same from `DataParallel`, in a dict", lambda: torchvision.models.resnet18(num_classes=5), wrapped, "resnet18"),
    File("timm `resnet18` `.safetensors`", lambda: timm.create_model("resnet18", num_classes=5), safe, "resnet18"),
    File("timm `seresnet18` `.safetensors`", lambda: timm.create_model("seresnet18", num_classes=5), safe, "seresnet18"),
    File("timm `resnet18d` `.safetensors`", lambda: timm.create_model("resnet18d", num_classes=5), safe, "resnet18d"),
    File("timm `resnetv2_50` `.safetensors`", lambda: timm.create_model("resnetv2_50", num_classes=5), safe, "resnetv2_50"),
    File("transformers folder", lambda: ResNetForImageClassification(ResNetConfig(**BASIC)), pretrained, "resnet18"),
    File("Keras `ResNet50` `.h5`", lambda: Channels(first()), keras_file(".h5"), "resnet50"),
    File("Keras `ResNet50` `.weights.h5`", lambda: Channels(first()), keras_file(".weights.h5"), "resnet50"),
    File("Keras `ResNet50` `.keras`", lambda: Channels(first()), keras_file(".keras"), "resnet50"),
]  # fmt: skip


def by_resnets(path: Path, _: str) -> nn.Module:
    return checkpoints.network(load(path, Request()).checkpoint)


def by_torchvision(path: Path, name: str) -> nn.Module:
    with torch.device("meta"):
        net = torchvision.models.get_model(name, num_classes=5)
    net.load_state_dict(torch.load(path, weights_only=True), strict=True, assign=True)
    return net


def by_timm(path: Path, name: str) -> nn.Module:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=5)
    net.to_empty(device="cpu")
    timm.models.load_checkpoint(net, str(path), strict=True)
    return net


def by_transformers(path: Path, _: str) -> nn.Module:
    net, report = ResNetForImageClassification.from_pretrained(path, output_loading_info=True)
    assert not any(report.values())
    return net


def application() -> keras.Model:
    return keras.applications.ResNet50(weights=None, classes=5, classifier_activation=None, input_shape=(64, 64, 3))


first, other = cache(lambda: application()), cache(lambda: application())  # one of each for all files


def by_keras(path: Path, _: str) -> nn.Module:
    other().load_weights(path)
    return Channels(other())


class Channels(nn.Module):
    """A Keras model for images with their channels first."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images.permute(0, 2, 3, 1), training=False)


READERS = {
    "resnets": by_resnets,
    "torchvision": by_torchvision,
    "timm": by_timm,
    "transformers": by_transformers,
    "Keras": by_keras,
}


def logits(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        found = net.eval()(IMAGE)
    return found if isinstance(found, Tensor) else found.logits


def told() -> dict[str, dict[str, bool]]:
    """The table of the page: row -> reader -> whether it says yes."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().partition("## Which library reads which file")[2].splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(rows[0][1:], [cell == "yes" for cell in row[1:]], strict=True)) for row in rows[2:]}


# They are read in test_weights.py, test_keras.py and tests/weights/readers/test_keras_zip.py too.
LONG = {
    "Keras `ResNet50` `.weights.h5`": "6 s",
    "Keras `ResNet50` `.keras`": "13 s",
    "timm `resnetv2_50` `.safetensors`": "2 s",
}


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=only_in_soak(LONG[file.row])) if file.row in LONG else file for file in FILES],
    ids=lambda file: re.sub(r"\W+", "_", file.row),
)
def test_the_table_says_what_happens(file: File, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = file.make()
    wanted, path = logits(theirs), file.save(theirs, tmp_path)
    found = {}
    for reader, read in READERS.items():
        try:
            found[reader] = torch.allclose(logits(read(path, file.name)), wanted, atol=1e-4 * wanted.abs().max().item())
        except Exception:
            found[reader] = False
    assert {reader: told()[file.row][reader] for reader in READERS} == found


def test_every_row_is_tried() -> None:
    assert {file.row for file in FILES} == set(told())
