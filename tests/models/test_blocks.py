"""How shortcut and branch meet."""

from __future__ import annotations

import torch
from torch import nn

from resnets.models.blocks import Highway, Plain, PreResidual, Residual
from resnets.models.layers import batch_norm, conv, relu

NORM = batch_norm(1e-5, 0.1)
X = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))


class Scale(nn.Module):
    """A branch that one can see in the sum."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


def test_residual_adds_then_activates():
    block = Residual(Scale(2), nn.Identity(), relu, channels=4, stride=1)
    assert torch.allclose(block(X), (3 * X).relu())


def test_the_activation_does_not_change_the_input_in_place():
    before = X.clone()
    for block in (
        Residual(Scale(0.5), nn.Identity(), relu, 4, 1),
        PreResidual(4, Scale(2), nn.Identity(), NORM, relu, 4, 1, shared=False),
        Plain(Scale(2), relu, 4, 1),
    ):
        block(X)
        assert torch.equal(before, X)


def test_preactivation_leaves_the_sum_alone():
    block = PreResidual(4, Scale(2), nn.Identity(), NORM, relu, 4, 1, shared=False).eval()
    block.norm.running_mean.fill_(0.5)
    active = block.norm(X).relu()
    assert torch.allclose(block(X), X + 2 * active)
    assert block(X).min() < 0


def test_a_shared_preactivation_feeds_the_shortcut_too():
    block = PreResidual(4, Scale(2), Scale(10), NORM, relu, 4, 1, shared=True).eval()
    assert torch.allclose(block(X), 12 * block.norm(X).relu())


def test_the_first_block_after_an_activated_stem_has_no_norm():
    block = PreResidual(4, Scale(2), nn.Identity(), None, relu, 4, 1, shared=True)
    assert not list(block.parameters())
    assert torch.allclose(block(X), 3 * X)


def test_plain_has_no_shortcut():
    assert torch.allclose(Plain(Scale(-2), relu, 4, 1)(X), (-2 * X).relu())


def test_highway_mixes_by_its_gate():
    block = Highway(Scale(3), conv(4, 4, 3, bias=True), gate_bias=-2.0, channels=4)
    transform = torch.sigmoid(nn.functional.conv2d(X, block.gate.weight, block.gate.bias, padding=1))
    assert torch.allclose(block(X), transform * 3 * X + (1 - transform) * X, atol=1e-6)


def test_a_highway_whose_gate_is_shut_carries_its_input():
    block = Highway(Scale(3), conv(4, 4, 3, bias=True), gate_bias=-1.0, channels=4)
    nn.init.zeros_(block.gate.weight)
    nn.init.constant_(block.gate.bias, -50)
    assert torch.allclose(block(X), X)
