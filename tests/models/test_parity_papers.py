"""Networks that no library has, against the shortest reading of their papers: plain functions over the same weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


class Weights:
    """Hands out tensors in the order in which the network defines them."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.values = iter([value for key, value in state.items() if not key.endswith("num_batches_tracked")])

    def conv(self, x: Tensor, stride: int = 1, bias: bool = False) -> Tensor:
        weight = next(self.values)
        return F.conv2d(x, weight, next(self.values) if bias else None, stride, weight.shape[-1] // 2)

    def norm(self, x: Tensor) -> Tensor:
        gamma, beta, mean, variance = (next(self.values)[:, None, None] for _ in range(4))
        return (x - mean) / (variance + 1e-5).sqrt() * gamma + beta

    def fc(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) @ next(self.values).T + next(self.values)


def option_a(x: Tensor, channels: int, stride: int) -> Tensor:
    """Every other place; the new channels are zero and come after the old ones."""
    x = x[:, :, ::stride, ::stride]
    zeros = x.new_zeros(x.shape[0], channels - x.shape[1], *x.shape[2:])
    return torch.cat((x, zeros), 1)


def places(n: int):
    """Width and stride of each block on CIFAR."""
    for stage, width in enumerate((16, 32, 64)):
        for block in range(n):
            yield width, 2 if stage and block == 0 else 1


def residual(w: Weights, x: Tensor, n: int) -> Tensor:
    x = w.norm(w.conv(x)).relu()
    for width, stride in places(n):
        y = w.norm(w.conv(x, stride)).relu()
        y = w.norm(w.conv(y))
        x = (y + option_a(x, width, stride)).relu()
    return w.fc(x)


def plain(w: Weights, x: Tensor, n: int) -> Tensor:
    x = w.norm(w.conv(x)).relu()
    for _, stride in places(n):
        x = w.norm(w.conv(x, stride)).relu()
        x = w.norm(w.conv(x)).relu()
    return w.fc(x)


def preactivation(w: Weights, x: Tensor, n: int) -> Tensor:
    x = w.norm(w.conv(x)).relu()
    for number, (width, stride) in enumerate(places(n)):
        changes = stride > 1
        a = x if number == 0 else w.norm(x).relu()
        y = w.conv(w.norm(w.conv(a, stride)).relu())
        x = y + option_a(a if changes else x, width, stride)
    return w.fc(w.norm(x).relu())


def preactivation_bottleneck(w: Weights, x: Tensor, n: int) -> Tensor:
    """resnet-pre-act.lua: the stride on the first 1x1; where channels change, a bare 1x1 of the activation."""
    x = w.norm(w.conv(x)).relu()
    for number, (_, stride) in enumerate(places(n)):
        changes = number % n == 0
        a = x if number == 0 else w.norm(x).relu()
        y = w.norm(w.conv(a, stride)).relu()
        y = w.norm(w.conv(y)).relu()
        y = w.conv(y)
        x = y + (w.conv(a, stride) if changes else x)
    return w.fc(w.norm(x).relu())


def wide(w: Weights, x: Tensor, n: int) -> Tensor:
    x = w.norm(w.conv(x)).relu()
    for number, (_, stride) in enumerate(places(n)):
        changes = number % n == 0
        a = x if number == 0 else w.norm(x).relu()
        y = w.conv(w.norm(w.conv(a, stride)).relu())
        x = y + (w.conv(a, stride) if changes else x)
    return w.fc(w.norm(x).relu())


def highway(w: Weights, x: Tensor, n: int) -> Tensor:
    """A gate for each layer; a plain layer where the shape changes."""
    x = w.norm(w.conv(x)).relu()
    for _, stride in places(2 * n):
        h = w.norm(w.conv(x, stride)).relu()
        if stride > 1:
            x = h
        else:
            t = torch.sigmoid(w.conv(x, bias=True))
            x = h * t + x * (1 - t)
    return w.fc(x)


CIFAR = [
    ("cifar_resnet20", residual, 3), ("cifar_resnet56", residual, 9), ("cifar_resnet110", residual, 18),
    ("cifar_plain20", plain, 3), ("cifar_plain44", plain, 7),
    ("cifar_preresnet110", preactivation, 18), ("cifar_preresnet164", preactivation_bottleneck, 18),
    ("cifar_highway20", highway, 3), ("cifar_highway56", highway, 9),
    ("wrn_16_8", wide, 2), ("wrn_40_4", wide, 6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "reference", "n"), CIFAR, ids=[row[0] for row in CIFAR])
def test_cifar_networks_follow_their_papers(name, reference, n, parity):
    net = parity.ours(name)
    parity.agree(net, lambda x: reference(Weights(net.state_dict()), x, n), ((32, 32), (33, 41)))


def imagenet(w: Weights, x: Tensor, *, shortcut: str = "", gate=None, bottleneck: bool = False) -> Tensor:
    """Post-activation networks of 18, 34 (basic) or 50 (bottleneck) layers."""
    depths = (3, 4, 6, 3) if bottleneck or shortcut else (2, 2, 2, 2)
    x = F.max_pool2d(w.norm(w.conv(x, 2)).relu(), 3, 2, 1)
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for block in range(depth):
            stride = 2 if stage and block == 0 else 1
            if bottleneck:
                y = w.norm(w.conv(x, stride)).relu()  # V1: the first 1x1
                y = w.norm(w.conv(y)).relu()
            else:
                y = w.norm(w.conv(x, stride)).relu()
            y = w.norm(w.conv(y))
            y = gate(w, y) if gate else y
            if shortcut == "none":
                x = y.relu()
                continue
            if shortcut == "A":
                way = option_a(x, width, stride)
            elif shortcut == "C" or (block == 0 and (stage or bottleneck)):
                way = w.norm(w.conv(x, stride))
            else:
                way = x
            x = (y + way).relu()
    return w.fc(x)


def cbam(w: Weights, x: Tensor) -> Tensor:
    """Woo et al. 2018, equations 2 and 3; the spatial convolution is normalised as in the authors' code."""
    first, first_bias, second, second_bias = (next(w.values) for _ in range(4))

    def mlp(vector: Tensor) -> Tensor:
        return (vector @ first[:, :, 0, 0].T + first_bias).relu() @ second[:, :, 0, 0].T + second_bias

    channels = torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.flatten(2).max(2).values))
    x = x * channels[:, :, None, None]
    both = torch.stack((x.max(1).values, x.mean(1)), 1)
    return x * torch.sigmoid(w.norm(w.conv(both)))


IMAGENET = [
    ("resnet34_a", {"shortcut": "A"}), ("resnet34_c", {"shortcut": "C"}), ("plain34", {"shortcut": "none"}),
    ("resnet50_v1", {"bottleneck": True}), ("cbam_resnet18", {"gate": cbam}),
    ("cbam_resnet50", {"gate": cbam, "bottleneck": True, "v15": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), IMAGENET, ids=[row[0] for row in IMAGENET])
def test_imagenet_networks_follow_their_papers(name, options, parity):
    options = dict(options)
    overrides = {"stride_at": "1x1"} if options.pop("v15", False) else {}  # the reference has V1's stride
    net = parity.ours(name, **overrides)
    parity.agree(net, lambda x: imagenet(Weights(net.state_dict()), x, **options))


def test_preactivation_for_imagenet_follows_the_lua_file(parity):
    net = parity.ours("resnet50_v2")

    def reference(x: Tensor) -> Tensor:
        w = Weights(net.state_dict())
        x = F.max_pool2d(w.norm(w.conv(x, 2)).relu(), 3, 2, 1)
        number = 0
        for stage, depth in enumerate((3, 4, 6, 3)):
            for block in range(depth):
                stride = 2 if stage and block == 0 else 1
                a = x if number == 0 else w.norm(x).relu()
                y = w.norm(w.conv(a, stride)).relu()
                y = w.conv(w.norm(w.conv(y)).relu())
                x = y + (w.conv(a, stride) if block == 0 else x)
                number += 1
        return w.fc(w.norm(x).relu())

    parity.agree(net, reference)
