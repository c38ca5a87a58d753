"""The ways around a branch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models.layers import batch_norm, conv
from resnets.models.shortcuts import Dropped, PooledProjection, Projection, StridedPool, ZeroPad

NORM = batch_norm(1e-5, 0.1)


def test_option_a_takes_every_second_position_and_appends_zeros():
    x = torch.arange(2 * 5 * 5, dtype=torch.float32).reshape(1, 2, 5, 5)
    shortcut = ZeroPad(2, 6, stride=2)
    y = shortcut(x)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2])
    assert y.shape == (1, 6, 3, 3)
    assert y[:, 2:].abs().sum() == 0
    assert not list(shortcut.parameters())


def test_option_a_on_both_sides():
    y = ZeroPad(2, 6, stride=1, both_sides=True)(torch.ones(1, 2, 1, 1))
    assert y.flatten().tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("make", [Projection, PooledProjection])
def test_projections_fit_the_branch_at_even_and_odd_sides(make, side):
    shortcut = make(3, 8, 2, norm=NORM, conv=conv, bias=False)
    assert shortcut(torch.randn(1, 3, side, side)).shape == (1, 8, (side + 1) // 2, (side + 1) // 2)


def test_a_projection_without_norm_is_its_convolution():
    shortcut = Projection(3, 8, 2, norm=None, conv=conv, bias=True)
    assert [type(part) for part in shortcut] == [nn.Conv2d]
    assert shortcut.conv.bias is not None


def test_a_projection_ignores_three_positions_of_four_and_a_pooled_one_none():
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    seen = []
    for make in (Projection, PooledProjection):
        make(3, 8, 2, norm=None, conv=conv, bias=False)(x).sum().backward()
        seen.append(int((x.grad.abs().sum(1) > 0).sum()))
        x.grad = None
    assert seen == [4, 16]


def test_the_mean_of_an_odd_border_counts_only_what_is_there():
    shortcut = PooledProjection(1, 1, 2, norm=None, conv=conv, bias=False)
    nn.init.ones_(shortcut.conv.weight)
    assert torch.allclose(shortcut(torch.ones(1, 1, 3, 3)), torch.ones(1, 1, 2, 2))


def test_strided_pool_takes_every_second_position():
    x = torch.randn(1, 3, 5, 6)
    assert torch.equal(StridedPool(2)(x), x[:, :, ::2, ::2])


def test_a_dropped_shortcut_has_zeros_in_training_and_its_expected_value_in_evaluation():
    torch.manual_seed(0)
    shortcut, x = Dropped(ZeroPad(2, 6, stride=2), p=0.25), torch.rand(8, 2, 31, 31, dtype=torch.float64) + 1
    wanted = ZeroPad(2, 6, stride=2)(x)
    y = shortcut(x)
    kept = y != 0
    assert torch.allclose(y[kept], wanted[kept], rtol=1e-15)
    assert not y[:, 2:].any()
    assert kept[:, :2].double().mean().item() == pytest.approx(
        0.75, abs=5 * (0.25 * 0.75 / wanted[:, :2].numel()) ** 0.5
    )
    assert torch.equal(shortcut.eval()(x), 0.75 * wanted)
