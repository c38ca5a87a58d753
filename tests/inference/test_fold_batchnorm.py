"""Folding changes no number: each kind of block, in float64, with norms that a training could have left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import nn

from resnets.inference.fold_batchnorm import fold
from resnets.models import zoo
from resnets.models.blocks import PreActBlock
from resnets.models.build_network import build
from resnets.models.layers import same_conv
from resnets.models.resnet import PooledBackbone, ResNet

FAMILIES = list(
    {
        replace(entry.spec, name="", num_blocks=(2,) + (1,) * (len(entry.spec.num_blocks) - 1), num_classes=7): name
        for name, entry in reversed(zoo.entries().items())
    }.values()
)
OF_EACH_KIND = [
    *("resnet18", "resnet34_a", "resnet50", "resnet50_v2", "resnet50d", "resnext50_32x4d", "se_resnet18"),
    *("cbam_resnet18", "keras_resnet50v2", "cifar_resnet20", "cifar_preresnet110", "cifar_highway20"),
    *("tutorial_resnet50", "notes_resnet50", "notes_basic_resnet", "tiny"),
]
# Norms that read a sum, or what a pool made of the first convolution: one before each block, and the last one.
LEFT = {"resnet50_v2": 5, "keras_resnet50v2": 6, "cifar_preresnet110": 4, "cifar_resnet20": 0, "resnet18": 0}


def lived(net: ResNet) -> ResNet:
    """In float64, with statistics, scales and shifts away from 1 and 0."""
    generator = torch.Generator().manual_seed(0)
    for module in net.double().modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.3, generator=generator)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.3, 1.4, generator=generator)
    return net.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(each, nn.BatchNorm2d) for each in module.modules())


@pytest.mark.parametrize("name", FAMILIES if IN_SOAK else OF_EACH_KIND)
def test_a_folded_network_computes_the_same(name: str) -> None:
    """Every network of the zoo in `make soak`, but for its depth: two blocks in the first stage, one in each other."""
    spec = zoo.get_spec(name, num_classes=7)
    torch.manual_seed(0)
    net = lived(build(replace(spec, num_blocks=(2,) + (1,) * (len(spec.num_blocks) - 1))))
    side = net.fixed_size or max(32, net.min_size)
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    folded = fold(PooledBackbone(net))
    with torch.no_grad():
        pooled, wanted = folded(images), net(images)
        torch.testing.assert_close(pooled, net.forward_pooled(images), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(net.head(pooled), wanted, rtol=1e-9, atol=1e-9)
    assert norms(folded) == LEFT.get(name, norms(folded))
    assert norms(folded) < norms(net)
    assert norms(folded) == 0 or any(isinstance(module, PreActBlock) for module in net.modules())


class Shared(nn.Module):
    """A convolution that two read, one of them through a norm; a convolution called twice; a bias; a lopsided one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, bias=True)
        self.read_twice, self.called_twice, self.lopsided = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.lopsided = same_conv(4, 4, 3, 2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4, affine=index != 3) for index in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norms[0](self.first(x))
        y = self.read_twice(x)
        x = y + self.norms[1](y)
        x = self.norms[2](self.called_twice(self.called_twice(x)))
        return self.norms[3](self.lopsided(x))


def test_what_something_else_reads_is_not_folded() -> None:
    torch.manual_seed(0)
    module = Shared().double()
    for norm in module.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    images = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    folded = fold(module)
    assert norms(folded) == 2
    torch.testing.assert_close(folded(images), module.eval()(images), rtol=1e-9, atol=1e-9)


class Branching(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) if len(x) > 1 else super().forward(x) + 1


def test_what_cannot_be_traced_is_copied(capfd: pytest.CaptureFixture[str]) -> None:
    module = Branching(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    copied = fold(module)
    assert module.training
    assert norms(copied) == 1
    assert copied[0].weight is not module[0].weight  # type: ignore[index]
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(copied(images), module.eval()(images))
    assert torch.equal(copied(images[:1]), module(images[:1]))
    assert capfd.readouterr() == ("", "")


def test_the_network_itself_stays_as_it_is() -> None:
    net = zoo.build("tiny", num_classes=3).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    fold(PooledBackbone(net))
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_the_counted_networks_are_among_them() -> None:
    assert set(LEFT) <= set(OF_EACH_KIND) <= set(FAMILIES)
