"""Errors that are known by hand, in several batches, and equal for images in memory and in files."""

import pytest
import torch
from tests.studies import known_images

from resnets.models import zoo
from resnets.models.resnet import ResNet
from resnets.studies.measurements import top1_error
from resnets.studies.measurements.top1_error import error_on_files, error_percent


def sum_of_pixels() -> ResNet:
    """A network whose two logits are the sum of the pixels and its negative."""
    net = zoo.build("tiny", num_classes=2).eval()
    net.forward = lambda x: torch.stack([x.flatten(1).sum(1), -x.flatten(1).sum(1)], dim=1)  # type: ignore[method-assign]
    return net


def test_the_error_is_the_share_of_wrong_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top1_error, "_BATCH", 2)
    images = torch.tensor([1.0, -1.0, 2.0, -2.0, 3.0])[:, None, None, None].expand(-1, 3, 4, 4)
    assert error_percent(sum_of_pixels(), images, torch.tensor([0, 1, 0, 1, 0])) == 0
    assert error_percent(sum_of_pixels(), images, torch.tensor([1, 1, 0, 1, 1])) == 40


def test_images_in_files_have_the_same_error() -> None:
    (network,), images = known_images.load(known_images.checkpoint_file(blocks=1))
    stacked = images.stacked(known_images.PREPROCESS)
    expected = error_percent(network.net, stacked, images.labels)
    assert error_on_files(network.net.train(), images, known_images.PREPROCESS) == expected
    assert not network.net.training
    torch.nn.init.zeros_(network.net.fc.weight)
    with torch.no_grad():
        network.net.fc.bias.copy_(torch.tensor([0.0, 1.0]))
    assert error_on_files(network.net, images, known_images.PREPROCESS) == 50
