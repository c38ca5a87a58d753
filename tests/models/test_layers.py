"""Padding as torch and as TensorFlow have it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch

from resnets.models import layers


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("side", [7, 8])
def test_a_convolution_halves_rounding_up(kernel_size, side):
    made = layers.conv(3, 5, kernel_size, 2)
    assert made(torch.zeros(1, 3, side, side)).shape == (1, 5, 4, 4)
    assert made.bias is None
    assert layers.conv(3, 5, kernel_size, bias=True).bias is not None


def test_the_odd_row_and_column_of_same_padding_go_below_and_to_the_right():
    image = torch.ones(1, 1, 4, 4)
    padded = layers.pad_same(image, kernel_size=3, stride=2)
    assert padded.shape == (1, 1, 5, 5)
    assert padded[0, 0, 0, 0] == 1
    assert padded[0, 0, 4].sum() == padded[0, 0, :, 4].sum() == 0
    assert layers.pad_same(torch.ones(1, 1, 5, 5), 3, 2).shape == (1, 1, 7, 7)
    assert layers.pad_same(image, kernel_size=1, stride=2) is image


@pytest.mark.parametrize("size", [(8, 8), (9, 6), (7, 10)])
@pytest.mark.parametrize(("kernel_size", "stride"), [(7, 2), (3, 2), (3, 1), (1, 2)])
def test_same_convolution_equals_keras(size, kernel_size, stride):
    ours = layers.same_conv(2, 3, kernel_size, stride, bias=True)
    theirs = keras.layers.Conv2D(3, kernel_size, strides=stride, padding="same")
    theirs.build((None, *size, 2))
    theirs.set_weights([ours.weight.detach().permute(2, 3, 1, 0).numpy(), ours.bias.detach().numpy()])
    image = torch.randn(2, 2, *size)
    with torch.no_grad():
        found, wanted = ours(image), theirs(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (9, 6)])
def test_padding_is_never_the_maximum_of_a_same_max_pool(size):
    image = -1 - torch.rand(1, 2, *size)  # padded zeros would win over every negative value
    found = layers.SameMaxPool2d(3, 2)(image)
    wanted = keras.layers.MaxPooling2D(3, 2, padding="same")(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.equal(found, wanted)
    assert found.max() < 0


def test_batch_norm_takes_torchs_momentum():
    norm = layers.batch_norm(eps=1e-3, momentum=0.01)(2)
    norm(torch.full((4, 2, 3, 3), 5.0))
    assert torch.allclose(norm.running_mean, torch.tensor(0.05))
    assert norm.eps == 1e-3


def test_relu_works_in_place():
    value = torch.tensor([-1.0, 2.0])
    layers.relu()(value)
    assert value.tolist() == [0, 2]


def test_batch_norm_with_a_shift_alone():
    """As torch's, whose scale is not trained; the names of its tensors are the same."""
    norm, theirs = layers.shift_batch_norm(eps=1e-3, momentum=0.4)(2), torch.nn.BatchNorm2d(2, eps=1e-3, momentum=0.4)
    assert [name for name, _ in norm.named_parameters()] == ["bias"]
    theirs.bias.data.uniform_()
    norm.load_state_dict(theirs.state_dict())
    images = torch.randn(4, 2, 3, 3)
    assert torch.equal(norm(images), theirs(images))
    assert torch.equal(norm.eval()(images), theirs.eval()(images))
