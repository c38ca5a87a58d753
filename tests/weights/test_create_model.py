"""`create_model` with weights of the catalog, on a mirror on this disk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import resnets
from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights.hub.catalog import PublishedWeights

Publish = Callable[..., PublishedWeights]


def images(side: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def same_logits(ours: torch.nn.Module, theirs: torch.nn.Module, batch: torch.Tensor) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(batch), theirs(batch), rtol=1e-4, atol=1e-4)


def test_create_with_weights(publish: Publish, theirs: torch.nn.Module, capsys: pytest.CaptureFixture[str]) -> None:
    entry = publish()
    same_logits(resnets.create_model("resnet18", weights=entry.name), theirs, images())
    net = resnets.create_model("resnet18", weights=entry.name, num_classes=5, in_channels=1)
    assert net(torch.zeros(1, 1, 64, 64)).shape == (1, 5)
    torch.testing.assert_close(
        net.state_dict()["stem.conv.weight"], theirs.state_dict()["conv1.weight"].sum(1, keepdim=True)
    )
    assert "new, untrained head of 5 classes" in capsys.readouterr().err
    with pytest.raises(UserError, match="are of resnet18; received 'resnet34'"):
        resnets.create_model("resnet34", weights=entry.name)
    with pytest.raises(UserError, match="leave out stem"):
        resnets.create_model("resnet18", weights=entry.name, stem="cifar")
    with pytest.raises(UserError, match="no network 'resnet19'"):
        resnets.create_model("resnet19", weights="imagenet")


def test_create_without_weights_is_the_zoos() -> None:
    ours, zoos = resnets.create_model("tiny", num_classes=3), zoo.build("tiny", num_classes=3)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in zoos.state_dict().items()}
    with pytest.raises(UserError, match="no setting 'stm'"):
        resnets.create_model("tiny", stm="cifar")
    with pytest.raises(UserError, match="Did you mean 'num_classes'"):
        resnets.create_model("tiny", classes=3)


def test_names_of_timm() -> None:
    net = resnets.create_model("tiny", num_classes=7, in_chans=1, pretrained=False)
    assert net(torch.rand(1, 1, 32, 32)).shape == (1, 7)
    assert resnets.create_model("tiny", num_classes=0)(torch.rand(2, 3, 32, 32)).shape == (2, 48)
    with pytest.raises(UserError, match="`pretrained` and `weights`"):
        resnets.create_model("tiny", pretrained=True, weights="imagenet")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"weights": "ResNet50_Weights.DEFAULT"}, "are of 'resnet50'; received the network 'resnet18'"),
        ({"weights": "IMAGENET1K_V9"}, "no IMAGENET1K_V9 for 'resnet18'; there are resnet18.tv_in1k_v1\\.$"),
        ({"weights": "resnet50.a1_in1k"}, "of resnet50; received 'resnet18'"),  # before anything is downloaded
        ({"weights": "https://example.invalid/a.pth"}, "download the file"),
        ({"weights": 7}, "`weights` is a name, a path, True or None; received 7"),
    ],
)
def test_weights_that_do_not_fit(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resnets.create_model("resnet18", **arguments)
