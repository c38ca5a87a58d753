"""Upsampling by strips, against torch's interpolation of the whole."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from resnets.tasks.segmentation import upsample

SIZES = [
    ((9, 12), (31, 47)),
    ((8, 8), (32, 32)),
    ((20, 7), (20, 7)),
    ((13, 17), (9, 50)),
    ((1, 1), (5, 3)),
    ((6, 5), (24, 1)),
]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("small", "size"), SIZES)
def test_strips_are_the_interpolation_of_the_whole(
    small: tuple[int, int], size: tuple[int, int], align_corners: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, *small, dtype=torch.float64)
    expected = functional.interpolate(logits[None], size, mode="bilinear", align_corners=align_corners)[0]
    monkeypatch.setattr(upsample, "STRIP_NUMBERS", 3 * size[1] * 5)
    cuts = sorted({0, small[0] // 3, small[0] // 2, small[0]})
    parts = [logits[:, start:end] for start, end in itertools.pairwise(cuts)]
    found = list(upsample.strips(parts, small[0], size, align_corners=align_corners))
    assert max(each.shape[1] for each in found) <= 5
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-12, atol=1e-12)


def test_the_height_of_strips_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal to the bit, as labels and as probabilities."""
    torch.manual_seed(1)
    logits, size = torch.randn(4, 11, 14), (43, 56)
    labels, probabilities = upsample.label_map(logits, size), upsample.probabilities(logits, size)
    assert (labels.dtype, labels.shape, probabilities.dtype) == (np.uint8, size, np.float16)
    expected = functional.interpolate(logits[None], size, mode="bilinear")[0]
    np.testing.assert_array_equal(labels, expected.argmax(0).numpy())
    np.testing.assert_allclose(probabilities, expected.softmax(0).numpy(), atol=1e-3)
    monkeypatch.setattr(upsample, "STRIP_NUMBERS", 1)
    np.testing.assert_array_equal(upsample.label_map(logits, size), labels)
    np.testing.assert_array_equal(upsample.probabilities(logits, size), probabilities)


def test_the_logits_are_not_changed() -> None:
    logits = torch.randn(2, 4, 4)
    before = logits.clone()
    upsample.label_map(logits, (4, 9))
    upsample.label_map(logits, (4, 4))
    assert torch.equal(logits, before)
