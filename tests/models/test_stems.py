"""Every stem: sizes, padding, and what a pre-activation one leaves out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnets.errors import UserError
from resnets.models import stems
from resnets.models.layers import batch_norm, conv, relu
from resnets.models.spec import STEMS

COMMON = {"conv": conv, "norm": batch_norm(1e-5, 0.1), "act": relu, "bias": False}
# the side of the maps for images of 224, 64, 33
SIDES = {
    "imagenet": (56, 16, 9),
    "deep": (56, 16, 9),
    "cifar": (224, 64, 33),
    "keras": (56, 16, 9),
    "same": (56, 16, 9),
    "valid": (54, 14, 6),  # the tutorial prints 54 for 224
    "notes": (55, 15, 8),
    "whiten": (223, 63, 32),
}
CHANNELS = {"whiten": 24}  # which are those of its patches, with both signs; the others take 8 here


@pytest.mark.parametrize("name", STEMS)
def test_sides(name):
    stem = STEMS[name](3, 8, **COMMON, preact=False)
    found = tuple(stem(torch.zeros(1, 3, side, side)).shape for side in (224, 64, 33))
    assert found == tuple((1, CHANNELS.get(name, 8), side, side) for side in SIDES[name])
    assert stem.channels == CHANNELS.get(name, 8)


@pytest.mark.parametrize("name", STEMS)
def test_the_least_side_works_and_one_less_does_not(name):
    stem = STEMS[name](3, 8, **COMMON, preact=False).eval()
    assert min(stem(torch.zeros(1, 3, stem.min_size, stem.min_size)).shape[2:]) >= 1
    if stem.min_size > 1:
        with pytest.raises(RuntimeError):
            stem(torch.zeros(1, 3, stem.min_size - 1, stem.min_size - 1))


@pytest.mark.parametrize("name", [name for name in STEMS if name != "whiten"])
def test_a_preact_stem_ends_in_its_convolution(name):
    whole, raw = STEMS[name](3, 8, **COMMON, preact=False), STEMS[name](3, 8, **COMMON, preact=True)
    assert set(dict(whole.named_children())) - set(dict(raw.named_children())) == {"norm", "act"}


@pytest.mark.parametrize("name", STEMS)
def test_any_number_of_input_channels_and_a_bias_on_request(name):
    stem = STEMS[name](5, 8, **{**COMMON, "bias": True}, preact=False)
    first = next(module for module in stem if isinstance(module, nn.Conv2d))
    assert first.in_channels == 5
    assert first.bias is not None


def test_keras_pools_over_zeros_where_torch_pools_over_nothing():
    options = {**COMMON, "preact": True}
    ours, theirs = stems.imagenet(3, 8, **options), stems.keras(3, 8, **options)
    image = torch.randn(1, 3, 32, 32)
    image[:, :, :10] = -1 - torch.rand(1, 3, 10, 32)  # with positive weights the first row of maps is negative
    ours.conv.weight.data.abs_()
    theirs.conv.load_state_dict(ours.conv.state_dict())
    with torch.no_grad():
        a, b = ours(image), theirs(image)
    assert torch.equal(a[:, :, 1:, 1:], b[:, :, 1:, 1:])
    assert torch.equal(a.clamp(min=0)[:, :, 0], b[:, :, 0])
    assert not torch.equal(a[:, :, 0], b[:, :, 0])


def test_whitened_patches_have_second_moments_of_one_and_are_not_correlated():
    """But for EPS, which is small beside the moments of these images."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(3, 3, generator=generator)
    images = torch.einsum("dc,nchw->ndhw", mixed, torch.randn(600, 3, 6, 5, generator=generator) + 0.5)
    stem = stems.whiten(3, 0, **COMMON, preact=False)
    stem.conv.whiten_(images)
    responses = torch.nn.functional.conv2d(images, stem.conv.weight).transpose(0, 1).flatten(1)
    assert torch.equal(responses[:12], -responses[12:])
    moments = responses[:12] @ responses[:12].T / responses.shape[1]
    assert torch.allclose(moments, torch.eye(12), atol=0.01)
    assert [name for name, _ in stem.named_parameters()] == ["conv.bias"]
    assert set(stem.state_dict()) == {"conv.bias", "conv.weight"}


@pytest.mark.parametrize("kind", ["gray", "of one color"])
def test_images_whose_patches_lack_dimensions_cannot_be_whitened(kind: str):
    """8-bit values, normalized as in training."""
    pixels = torch.randint(256, (40, 1 if kind == "gray" else 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = pixels.expand(-1, 3, -1, -1) / 255
    if kind == "of one color":
        images = images.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)
    stem = stems.whiten(3, 0, **COMMON, preact=False)
    with pytest.raises(UserError, match=f"{4 if kind == 'gray' else 3} of 12 dimensions"):
        stem.conv.whiten_((images - 0.5) / torch.tensor([0.25, 0.26, 0.27])[:, None, None])
