"""Targets that are refused, by each kind of detector."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector

GOOD = {"boxes": torch.tensor([[10.0, 10, 40, 50]]), "labels": torch.tensor([1])}


@pytest.fixture(scope="module", params=["fasterrcnn_light_tiny", "yolov3_light_tiny"])
def detector(request: pytest.FixtureRequest) -> nn.Module:
    settings, spec = zoo.get(request.param)
    return build_detector(replace(settings, neck_channels=8), spec, num_classes=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": torch.tensor([[60.0, 60, 10, 10]])}, "received .60.0, 60.0, 10.0, 10.0"),
        ({"boxes": torch.tensor([[10.0, 10, 10, 50]])}, "x1 < x2"),
        ({"boxes": torch.tensor([[10.0, 10, torch.nan, 50]])}, "x1 < x2"),
        ({"labels": torch.tensor([-1])}, "from 0 to 1; received -1"),
        ({"labels": torch.tensor([2])}, "from 0 to 1; received 2"),
        ({"labels": torch.tensor([0, 1])}, r"received \(1, 4\) and \(2,\)"),
    ],
)
def test_wrong_targets_are_refused_with_the_index_of_the_image(
    detector: nn.Module, changes: dict[str, torch.Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=rf"targets\[1\].*{message}"):
        detector(torch.zeros(2, 3, 64, 64), [GOOD, GOOD | changes])


def test_train_mode_needs_targets(detector: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"need `targets`.*received None.*call `eval\(\)`"):
        detector.train()(torch.zeros(2, 3, 64, 64))
    assert detector.eval()(torch.zeros(2, 3, 64, 64)).losses == {}
