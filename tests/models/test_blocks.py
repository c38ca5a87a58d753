"""Branches (shapes, where the stride is, dropout), and the blocks that join a branch with a shortcut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models import blocks
from resnets.models.blocks import HighwayBlock, PlainBlock, PreActBlock, ResidualBlock
from resnets.models.layers import batch_norm, conv, relu

NORM = batch_norm(1e-5, 0.1)
X = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0))
COMMON = {"conv": conv, "norm": batch_norm(1e-5, 0.1), "act": relu, "attention": nn.Identity, "bias": False}
NARROW = {"mid_channels": 4, "groups": 1, "stride_1x1": False}
BRANCHES = [
    (blocks.BasicBranch, {}),
    (blocks.PreActBasicBranch, {"dropout": 0.0}),
    (blocks.BottleneckBranch, NARROW),
    (blocks.PreActBottleneckBranch, {**NARROW, "outer_bias": False}),
]
IDS = [make.__name__ for make, _ in BRANCHES]


@pytest.mark.parametrize(("make", "options"), BRANCHES, ids=IDS)
@pytest.mark.parametrize("side", [8, 9])
def test_shapes(make, options, side):
    branch = make(6, 16, 2, **COMMON, **options)
    assert branch(torch.randn(2, 6, side, side)).shape == (2, 16, (side + 1) // 2, (side + 1) // 2)


@pytest.mark.parametrize(("make", "options"), BRANCHES, ids=IDS)
def test_attention_ends_the_branch(make, options):
    class Zero(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels

        def forward(self, x):
            assert x.shape[1] == self.channels
            return 0 * x

    branch = make(6, 16, 1, **{**COMMON, "attention": Zero}, **options)
    assert branch(torch.randn(2, 6, 8, 8)).abs().sum() == 0


@pytest.mark.parametrize(("make", "options"), BRANCHES[2:], ids=IDS[2:])
def test_the_stride_of_a_bottleneck_is_on_the_first_1x1_or_on_the_3x3(make, options):
    for stride_1x1, strides in ((True, [2, 1, 1]), (False, [1, 2, 1])):
        branch = make(6, 16, 2, **COMMON, **{**options, "stride_1x1": stride_1x1})
        assert [part.stride[0] for part in (branch.conv1, branch.conv2, branch.conv3)] == strides


def test_groups_are_those_of_the_3x3():
    branch = blocks.BottleneckBranch(6, 16, 1, **COMMON, **{**NARROW, "groups": 4})
    assert [part.groups for part in (branch.conv1, branch.conv2, branch.conv3)] == [1, 4, 1]


def test_activation_is_where_the_name_says():
    x = torch.randn(2, 6, 8, 8)
    for make, options in BRANCHES:
        assert make(6, 16, 1, **COMMON, **options)(x).min() < 0, "no activation at the end: the block adds first"
    single = {key: value for key, value in COMMON.items() if key != "attention"}
    assert blocks.SingleConvBranch(6, 16, 1, **single)(x).min() == 0


def test_dropout_between_the_convolutions_of_a_wide_branch():
    branch = blocks.PreActBasicBranch(6, 16, 1, **COMMON, dropout=0.5)
    x = torch.randn(2, 6, 8, 8)
    assert not torch.equal(branch(x), branch(x))
    branch.eval()
    assert torch.equal(branch(x), branch(x))


class Scale(nn.Module):
    """A branch that one can see in the sum."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


def test_residual_adds_then_activates():
    block = ResidualBlock(Scale(2), nn.Identity(), relu, channels=4, stride=1)
    assert torch.allclose(block(X), (3 * X).relu())


def test_the_activation_does_not_change_the_input_in_place():
    before = X.clone()
    for block in (
        ResidualBlock(Scale(0.5), nn.Identity(), relu, 4, 1),
        PreActBlock(4, Scale(2), nn.Identity(), NORM, relu, 4, 1, shared=False),
        PlainBlock(Scale(2), relu, 4, 1),
    ):
        block(X)
        assert torch.equal(before, X)


def test_preactivation_does_not_change_the_sum():
    block = PreActBlock(4, Scale(2), nn.Identity(), NORM, relu, 4, 1, shared=False).eval()
    block.norm.running_mean.fill_(0.5)
    active = block.norm(X).relu()
    assert torch.allclose(block(X), X + 2 * active)
    assert block(X).min() < 0


def test_a_shared_preactivation_feeds_the_shortcut_too():
    block = PreActBlock(4, Scale(2), Scale(10), NORM, relu, 4, 1, shared=True).eval()
    assert torch.allclose(block(X), 12 * block.norm(X).relu())


def test_the_first_block_after_an_activated_stem_has_no_norm():
    block = PreActBlock(4, Scale(2), nn.Identity(), None, relu, 4, 1, shared=True)
    assert not list(block.parameters())
    assert torch.allclose(block(X), 3 * X)


def test_plain_has_no_shortcut():
    assert torch.allclose(PlainBlock(Scale(-2), relu, 4, 1)(X), (-2 * X).relu())


def test_highway_mixes_by_its_gate():
    block = HighwayBlock(Scale(3), conv(4, 4, 3, bias=True), gate_bias=-2.0, channels=4)
    transform = torch.sigmoid(nn.functional.conv2d(X, block.gate.weight, block.gate.bias, padding=1))
    assert torch.allclose(block(X), transform * 3 * X + (1 - transform) * X, atol=1e-6)


def test_a_highway_whose_gate_is_closed_returns_its_input():
    block = HighwayBlock(Scale(3), conv(4, 4, 3, bias=True), gate_bias=-1.0, channels=4)
    nn.init.zeros_(block.gate.weight)
    nn.init.constant_(block.gate.bias, -50)
    assert torch.allclose(block(X), X)
