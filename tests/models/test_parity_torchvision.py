"""The same weights give the same logits here and in torchvision.

The shallowest network of each kind of block is compared, and with RESNETS_EVERY_SIZE=1 (`make soak`) every depth.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from tests.in_soak import IN_SOAK

NAMES = ["resnet18", "resnet50", "resnext50_32x4d"]
if IN_SOAK:
    NAMES += [
        "resnet34",
        "resnet101",
        "resnet152",
        "wide_resnet50_2",
        "wide_resnet101_2",
        "resnext101_32x8d",
        "resnext101_64x4d",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_torchvisions(name, parity):
    ours = parity.ours(name)
    theirs = parity.blank(lambda: torchvision.models.get_model(name, weights=None))
    # Both define their layers in the order in which they compute, the shortcut last.
    parity.fill(theirs, dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    parity.agree(ours, theirs)


def test_the_v1_network_computes_something_else_with_the_same_weights(parity):
    v1, v15 = parity.ours("resnet50_v1"), parity.ours("resnet50")
    v15.load_state_dict(v1.state_dict(), strict=True)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, other = v1(image), v15(image)
    assert (found - other).abs().max() > 0.1 * found.abs().max()
