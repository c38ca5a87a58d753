"""The graph of a network's layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from resnets.models import zoo
from resnets.models.summary import graph


class Toy(nn.Module):
    """A branch of two layers beside a shortcut of one, an activation called twice, and things that compute nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3)
        self.nothing = nn.Identity()
        self.long = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.short = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.nothing(self.first(x)))
        x = self.act(self.short(x) + self.long(x))
        return self.fc(torch.flatten(self.pool(x), 1))


def test_layers_are_sorted_by_depth_and_the_longest_path_first() -> None:
    found = graph.layers(Toy(), (12, 10))
    assert [(layer.name, layer.type, layer.shape) for layer in found] == [
        ("input", "InputLayer", (2, 12, 10)),
        ("first", "Conv2D", (4, 10, 8)),
        ("act", "Activation", (4, 10, 8)),
        ("long.0", "Conv2D", (4, 10, 8)),
        ("long.1", "BatchNormalization", (4, 10, 8)),
        ("short", "Conv2D", (4, 10, 8)),
        ("add", "Add", (4, 10, 8)),
        ("act_1", "Activation", (4, 10, 8)),
        ("pool", "GlobalAveragePooling2D", (4,)),
        ("fc", "Dense", (3,)),
    ]
    by_name = {layer.name: layer for layer in found}
    assert by_name["add"].inputs == (by_name["long.1"], by_name["short"])
    assert by_name["act_1"].repeated
    assert not by_name["act"].repeated


def test_the_network_itself_is_unchanged() -> None:
    net = zoo.build("tiny", in_channels=1)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    graph.layers(net, 33)
    assert net.training
    assert next(net.parameters()).device.type == "cpu"
    for key, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[key])


@pytest.mark.parametrize(
    "name", ["resnet18", "keras_resnet50v2", "notes_basic_resnet", "cifar_resnet20", "cifar_highway20", "cbam_resnet18"]
)
def test_the_shapes_are_those_of_a_real_image(name: str) -> None:
    """At an odd size, from one real forward pass with a hook on every module of torch."""
    side = 224 if name == "notes_basic_resnet" else 65  # a head with a window takes one size only
    net = zoo.build(name).eval()
    seen: dict[str, tuple[int, ...]] = {}

    def noting(path: str) -> Callable[[nn.Module, object, Tensor], None]:
        def note(module: nn.Module, given: object, value: Tensor) -> None:
            seen.setdefault(path, tuple(value.shape[1:]))

        return note

    for path, module in net.named_modules():
        if not any(module.children()):
            module.register_forward_hook(noting(path))
    with torch.inference_mode():
        net(torch.zeros(1, 3, side, side))
    found = {layer.name: layer.shape for layer in graph.layers(net, side)}
    compared = [path for path in seen if path in found and path != "pool"]
    assert len(compared) > 40
    assert {path: found[path] for path in compared} == {path: seen[path] for path in compared}


def test_a_too_small_image_gives_the_error_of_the_network() -> None:
    with pytest.raises(ValueError, match="Images of 4x40") as caught:
        graph.layers(zoo.build("tutorial_resnet50"), (4, 40))
    assert str(caught.value).count("\n") == 0
