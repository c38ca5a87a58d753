"""Networks that no library has, against the shortest reading of their papers: plain functions over the same weights.

One network of each kind is compared, with two blocks a stage where it has many, and with RESNETS_EVERY_SIZE=1 (`make soak`) every
depth.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.in_soak import IN_SOAK
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
        logits = x.mean((2, 3)) @ next(self.values).T + next(self.values)
        assert next(self.values, None) is None, "a tensor of the network was not used"
        return logits


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


def pooled_groups(w: Weights, x: Tensor) -> Tensor:
    """The groups of airbench96 with an identity shortcut; a norm trains its shift alone, whose tensor comes first."""

    def norm(x: Tensor) -> Tensor:
        shift, mean, variance, scale = (next(w.values)[:, None, None] for _ in range(4))
        return (x - mean) / (variance + 1e-12).sqrt() * scale + shift

    bias, kernels = next(w.values), next(w.values)
    x = F.gelu(F.conv2d(x, kernels, bias))
    for _ in range(3):
        x = F.gelu(norm(F.max_pool2d(w.conv(x), 2)))
        y = F.gelu(norm(w.conv(x)))
        x = F.gelu(x + norm(w.conv(y)))
    return x.amax((2, 3)) @ next(w.values).T + next(w.values)


CIFAR = [
    ("cifar_resnet20", residual, 3), ("cifar_plain20", plain, 3), ("cifar_highway20", highway, 3), ("wrn_16_8", wide, 2),
    ("cifar_preresnet110", preactivation, 18 if IN_SOAK else 2),
    ("cifar_preresnet164", preactivation_bottleneck, 18 if IN_SOAK else 2),
]  # fmt: skip
if IN_SOAK:
    CIFAR += [(f"cifar_{name}{6 * n + 2}", reference, n)
              for name, reference in (("resnet", residual), ("plain", plain), ("highway", highway))
              for n in (5, 7, 9, 18) if (name, n) != ("highway", 7)]  # fmt: skip
    CIFAR += [("cifar_resnet1202", residual, 200), ("cifar_preresnet1001", preactivation_bottleneck, 111),
              ("wrn_28_10", wide, 4), ("wrn_40_4", wide, 6)]  # fmt: skip


@pytest.mark.parametrize(("name", "reference", "n"), CIFAR, ids=[row[0] for row in CIFAR])
def test_cifar_networks_follow_their_papers(name, reference, n, parity):
    net = parity.ours(name, num_blocks=(2 * n if reference is highway else n,) * 3)
    parity.agree(net, lambda x: reference(Weights(net.state_dict()), x, n), ((32, 32), (33, 41)))


def test_the_network_of_cifar_fast(parity):
    net = parity.ours("cifar_fast")
    parity.agree(net, lambda x: pooled_groups(Weights(net.state_dict()), x), ((32, 32), (33, 41)))


def test_option_a_with_zeros_on_both_sides_as_some_ports_have_it(parity, monkeypatch):
    def both_sides(x: Tensor, channels: int, stride: int) -> Tensor:
        x = x[:, :, ::stride, ::stride]
        zeros = x.new_zeros(x.shape[0], (channels - x.shape[1]) // 2, *x.shape[2:])
        return torch.cat((zeros, x, zeros), 1)

    net = parity.ours("cifar_resnet20", zero_pad_both_sides=True)
    monkeypatch.setitem(globals(), "option_a", both_sides)
    parity.agree(net, lambda x: residual(Weights(net.state_dict()), x, 3), ((32, 32), (33, 41)))


def test_option_b_on_cifar(parity, monkeypatch):
    net = parity.ours("cifar_resnet20", shortcut="B")

    def projected(w: Weights, x: Tensor) -> Tensor:
        x = w.norm(w.conv(x)).relu()
        for number, (_, stride) in enumerate(places(3)):
            y = w.norm(w.conv(w.norm(w.conv(x, stride)).relu()))
            x = (y + (w.norm(w.conv(x, stride)) if number in (3, 6) else x)).relu()
        return w.fc(x)

    parity.agree(net, lambda x: projected(Weights(net.state_dict()), x), ((32, 32), (33, 41)))


def imagenet(
    w: Weights, x: Tensor, num_blocks, *, bottleneck=False, stride_3x3=False, shortcut="B", attention=None
) -> Tensor:
    """He et al. 2015, table 1."""
    x = F.max_pool2d(w.norm(w.conv(x, 2)).relu(), 3, 2, 1)
    for stage, depth in enumerate(num_blocks):
        for block in range(depth):
            stride = 2 if stage and block == 0 else 1
            if bottleneck:
                y = w.norm(w.conv(x, 1 if stride_3x3 else stride)).relu()
                y = w.norm(w.conv(y, stride if stride_3x3 else 1)).relu()
            else:
                y = w.norm(w.conv(x, stride)).relu()
            y = w.norm(w.conv(y))
            y = attention(w, y) if attention else y
            if shortcut == "none":
                way = torch.zeros_like(y)
            elif shortcut == "A":
                way = option_a(x, 64 * 2**stage, stride)
            elif shortcut == "C" or (block == 0 and (stage or bottleneck)):
                way = w.norm(w.conv(x, stride))
            else:
                way = x
            x = (y + way).relu()
    return w.fc(x)


def cbam(w: Weights, x: Tensor) -> Tensor:
    """Woo et al. 2018, equations 2 and 3; the spatial convolution is normalized as in the authors' code."""
    first, first_bias, second, second_bias = (next(w.values) for _ in range(4))

    def mlp(vector: Tensor) -> Tensor:
        return (vector @ first[:, :, 0, 0].T + first_bias).relu() @ second[:, :, 0, 0].T + second_bias

    channels = torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.flatten(2).max(2).values))
    x = x * channels[:, :, None, None]
    both = torch.stack((x.max(1).values, x.mean(1)), 1)
    return x * torch.sigmoid(w.norm(w.conv(both)))


BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
          200: (3, 24, 36, 3)}  # fmt: skip
if not IN_SOAK:
    BLOCKS = dict.fromkeys(BLOCKS, (2, 2, 2, 2))
IMAGENET = [
    ("resnet34_a", 34, {"shortcut": "A"}), ("resnet34_c", 34, {"shortcut": "C"}),
    ("plain18", 18, {"shortcut": "none"}), ("resnet50_v1", 50, {}), ("cbam_resnet18", 18, {"attention": cbam}),
    ("cbam_resnet50", 50, {"attention": cbam, "stride_3x3": True}),
]  # fmt: skip
if IN_SOAK:
    IMAGENET += [
        ("plain34", 34, {"shortcut": "none"}), ("resnet101_v1", 101, {}), ("resnet152_v1", 152, {}),
        ("cbam_resnet34", 34, {"attention": cbam}),
        ("cbam_resnet101", 101, {"attention": cbam, "stride_3x3": True}),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "depth", "options"), IMAGENET, ids=[row[0] for row in IMAGENET])
def test_imagenet_networks_follow_their_papers(name, depth, options, parity):
    net = parity.ours(name, scale=0.5 if "attention" in options else 1.0, num_blocks=BLOCKS[depth])

    def reference(x: Tensor) -> Tensor:
        return imagenet(Weights(net.state_dict()), x, BLOCKS[depth], bottleneck=depth >= 50, **options)

    parity.agree(net, reference)


@pytest.mark.parametrize("depth", [50, 101, 152, 200] if IN_SOAK else [50])
def test_preactivation_for_imagenet_follows_the_paper_and_the_lua_file(depth, parity):
    net = parity.ours(f"resnet{depth}_v2", num_blocks=BLOCKS[depth])

    def reference(x: Tensor) -> Tensor:
        w = Weights(net.state_dict())
        x = F.max_pool2d(w.norm(w.conv(x, 2)).relu(), 3, 2, 1)
        for stage, blocks in enumerate(BLOCKS[depth]):
            for block in range(blocks):
                stride = 2 if stage and block == 0 else 1
                a = x if stage == block == 0 else w.norm(x).relu()
                y = w.norm(w.conv(a, stride)).relu()
                y = w.conv(w.norm(w.conv(y)).relu())
                x = y + (w.conv(a, stride) if block == 0 else x)
        return w.fc(w.norm(x).relu())

    parity.agree(net, reference)
