"""Branches: shapes, where the stride is, and stochastic depth."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models import branches
from resnets.models.layers import batch_norm, conv, relu

COMMON = {"conv": conv, "norm": batch_norm(1e-5, 0.1), "act": relu, "gate": nn.Identity, "bias": False}
NARROW = {"inner_channels": 4, "groups": 1, "stride_1x1": False}
BRANCHES = [
    (branches.Basic, {}),
    (branches.PreBasic, {"dropout": 0.0}),
    (branches.Bottleneck, NARROW),
    (branches.PreBottleneck, {**NARROW, "outer_bias": False}),
]
IDS = [make.__name__ for make, _ in BRANCHES]


@pytest.mark.parametrize(("make", "options"), BRANCHES, ids=IDS)
@pytest.mark.parametrize("side", [8, 9])
def test_shapes(make, options, side):
    branch = make(6, 16, 2, **COMMON, **options)
    assert branch(torch.randn(2, 6, side, side)).shape == (2, 16, (side + 1) // 2, (side + 1) // 2)


@pytest.mark.parametrize(("make", "options"), BRANCHES, ids=IDS)
def test_the_gate_ends_the_branch(make, options):
    class Zero(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.channels = channels

        def forward(self, x):
            assert x.shape[1] == self.channels
            return 0 * x

    branch = make(6, 16, 1, **{**COMMON, "gate": Zero}, **options)
    assert branch(torch.randn(2, 6, 8, 8)).abs().sum() == 0


@pytest.mark.parametrize(("make", "options"), BRANCHES[2:], ids=IDS[2:])
def test_the_stride_of_a_bottleneck_is_on_the_first_1x1_or_on_the_3x3(make, options):
    for stride_1x1, strides in ((True, [2, 1, 1]), (False, [1, 2, 1])):
        branch = make(6, 16, 2, **COMMON, **{**options, "stride_1x1": stride_1x1})
        assert [part.stride[0] for part in (branch.conv1, branch.conv2, branch.conv3)] == strides


def test_groups_are_those_of_the_3x3():
    branch = branches.Bottleneck(6, 16, 1, **COMMON, **{**NARROW, "groups": 4})
    assert [part.groups for part in (branch.conv1, branch.conv2, branch.conv3)] == [1, 4, 1]


def test_activation_is_where_the_name_says():
    x = torch.randn(2, 6, 8, 8)
    for make, options in BRANCHES:
        assert make(6, 16, 1, **COMMON, **options)(x).min() < 0, "no activation at the end: the block adds first"
    single = {key: value for key, value in COMMON.items() if key != "gate"}
    assert branches.Single(6, 16, 1, **single)(x).min() == 0


def test_dropout_between_the_convolutions_of_a_wide_branch():
    branch = branches.PreBasic(6, 16, 1, **COMMON, dropout=0.5)
    x = torch.randn(2, 6, 8, 8)
    assert not torch.equal(branch(x), branch(x))
    branch.eval()
    assert torch.equal(branch(x), branch(x))
