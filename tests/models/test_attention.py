"""Gates against their papers' formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.models.attention import CBAM, SqueezeExcite


def test_squeeze_and_excitation_weighs_channels():
    attention = SqueezeExcite(64).eval()
    x = torch.randn(2, 64, 5, 7)
    with torch.no_grad():
        hidden = (x.mean((2, 3)) @ attention.reduce.weight[:, :, 0, 0].T + attention.reduce.bias).relu()
        weight = torch.sigmoid(hidden @ attention.expand.weight[:, :, 0, 0].T + attention.expand.bias)
        assert torch.allclose(attention(x), x * weight[:, :, None, None], atol=1e-6)
        assert weight.std() > 0.01, "weights must differ between channels"


@pytest.mark.parametrize(("channels", "hidden"), [(64, 8), (128, 8), (256, 16), (512, 32), (2048, 128)])
def test_hidden_channels_of_squeeze_and_excitation(channels, hidden):
    assert SqueezeExcite(channels).reduce.out_channels == hidden


def test_cbam_weighs_channels_by_mean_and_maximum_then_positions():
    attention = CBAM(32).eval()
    nn.init.normal_(attention.norm.weight)
    x = torch.randn(2, 32, 9, 9)
    x[:, :, 2, 3] = 9.0  # a place that the mean hardly sees

    def mlp(vector):
        hidden = (vector @ attention.reduce.weight[:, :, 0, 0].T + attention.reduce.bias).relu()
        return hidden @ attention.expand.weight[:, :, 0, 0].T + attention.expand.bias

    with torch.no_grad():
        y = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[:, :, None, None]
        positions = torch.stack((y.amax(1), y.mean(1)), 1)
        wanted = y * torch.sigmoid(attention.norm(nn.functional.conv2d(positions, attention.spatial.weight, padding=3)))
        assert torch.allclose(attention(x), wanted, atol=1e-6)
        assert not torch.allclose(attention(x), y, atol=1e-2)


def test_both_learn():
    for attention in (SqueezeExcite(32), CBAM(32)):
        attention(torch.randn(2, 32, 5, 5)).square().sum().backward()
        for name, parameter in attention.named_parameters():
            assert parameter.grad is not None, name
