"""The maps of every kind of network against captum, and their sum against the logit, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from tests.narrow_networks import images, network
from torch import nn

from resnets.tasks.heatmaps.class_activation import class_maps, has_linear_head

EXACT = ["resnet50_v1", "resnet50", "resnet50_v2", "resnet50d", "se_resnet50", "cifar_resnet20", "tiny"]


@pytest.mark.parametrize("name", EXACT)
def test_the_mean_of_a_map_and_the_bias_are_the_logit_and_captum_agrees(name: str) -> None:
    net, x = network(name), images()
    assert has_linear_head(net)
    features = net.forward_features(x).detach()
    positions = features.shape[2] * features.shape[3]
    assert positions > 4
    maps, _ = class_maps(net, features, range(net.fc.out_features))
    torch.testing.assert_close(maps.mean((2, 3)) + net.fc.bias, net(x), atol=1e-12, rtol=1e-12)
    some, offsets = class_maps(net, features, [3, 0])
    torch.testing.assert_close(some, maps[:, [3, 0]])
    torch.testing.assert_close(offsets, net.fc.bias[[3, 0]].expand(2, -1))
    last = list(net.children())[-3]  # before pooling and head: the last stage, or the norm and activation after it
    for label in (0, 3):
        theirs = LayerGradCam(net, last).attribute(x, target=label)
        torch.testing.assert_close(maps[:, label] / positions, theirs[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [{"head_hidden_dim": 7}, {"pool": "max"}, {"pool": "window", "pool_window": 2, "imgsz": 75, "head_hidden_dim": 7}],
    ids=lambda changes: ", ".join(changes),
)
def test_maps_of_other_heads_are_captums_gradient_times_the_features(changes: dict[str, Any]) -> None:
    net, x = network("tiny", **changes), images((75, 75))
    assert not has_linear_head(net)
    features = net.forward_features(x).detach()
    positions = features.shape[2] * features.shape[3]
    maps, offsets = class_maps(net, features, [4, 1])
    logits = net(x).detach()
    torch.testing.assert_close(maps.mean((2, 3)) + offsets, logits[:, [4, 1]])
    last = list(net.children())[-3]
    for index, label in enumerate((4, 1)):
        theirs = LayerGradientXActivation(net, last).attribute(x, target=label).sum(1)
        torch.testing.assert_close(maps[:, index] / positions, theirs, atol=1e-12, rtol=1e-12)
        if changes == {"head_hidden_dim": 7}:  # all positions have the same gradient, whose mean Grad-CAM takes
            cam = LayerGradCam(net, last).attribute(x, target=label)[:, 0]
            torch.testing.assert_close(maps[:, index] / positions, cam, atol=1e-12, rtol=1e-12)


def test_without_hidden_layer_the_gradient_finds_the_same_map() -> None:
    net, x = network("tiny"), images()
    features = net.forward_features(x).detach()
    expected = class_maps(net, features, [2])
    net.fc = nn.Sequential(nn.Dropout(), net.fc).eval()  # as users write it
    assert not has_linear_head(net)
    with torch.inference_mode():
        found = class_maps(net, features, [2])
    torch.testing.assert_close(found, expected)
