"""The augmentation of an image with its mask: positions, values, padding, and draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.augmentation import fork_seed
from resnets.recipes.recipe import Augment
from resnets.tasks.segmentation.config import SegmentationConfig
from resnets.tasks.segmentation.training.augment import MAX_DRAWS, ScaleCrop, train_transform

IGNORE = 255
OWN_SIZE = Preprocess(size=(64, 64), resize="none", crop="none")


def draw(transform: ScaleCrop, image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    with fork_seed(seed):
        changed, drawn = transform(
            tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)), tv_tensors.Mask(torch.from_numpy(mask))
        )
    return changed.as_subclass(torch.Tensor), drawn.as_subclass(torch.Tensor)


def checkerboard(height: int, width: int, side: int) -> np.ndarray:
    rows, columns = np.indices((height, width)) // side
    return ((rows + columns) % 2).astype(np.uint8)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 70), st.integers(0, 1000))
@settings(max_examples=60)
def test_masks_get_no_new_values_at_any_size(height: int, width: int, rows: int, columns: int, seed: int) -> None:
    mask = np.random.default_rng(seed).choice(np.array([0, 3, 17, 200, IGNORE], np.uint8), (height, width))
    transform = ScaleCrop(OWN_SIZE, (rows, columns), (0.5, 2.0), 1.0)
    image, drawn = draw(transform, np.zeros((height, width, 3), np.uint8), mask, seed)
    assert tuple(image.shape) == (3, rows, columns)
    assert tuple(drawn.shape) == (rows, columns)
    assert drawn.dtype == torch.uint8
    assert set(drawn.unique().tolist()) <= {*mask.ravel().tolist(), IGNORE}


@pytest.mark.parametrize("factor", [0.55, 0.7, 0.8, 1.0, 1.3, 1.7, 2.0])
def test_image_and_mask_stay_aligned(factor: float) -> None:
    """Both hold the number of their row or column: they differ by half a pixel at most, and not to one side."""
    numbers = np.tile(np.arange(120, dtype=np.uint8), (120, 1))
    transform = ScaleCrop(OWN_SIZE, (56, 56), (factor, factor), 1.0)
    for mask in (numbers, numbers.T.copy()):
        for seed in range(3):
            changed, drawn = draw(transform, np.repeat(mask[..., None], 3, axis=2), mask, seed)
            inside = (drawn > 2) & (drawn < 117)
            inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False  # where the interpolation sees less
            apart = (drawn.float() - changed[0].float())[inside]
            assert inside.float().mean() > 0.5
            assert apart.abs().max() <= 1  # with half a pixel of rounding to whole numbers
            assert abs(float(apart.mean())) <= 0.2


def test_what_exceeds_the_image_is_ignored_and_has_the_mean_color() -> None:
    image, mask = np.full((20, 30, 3), 7, np.uint8), np.zeros((20, 30), np.uint8)
    for seed in range(8):
        changed, drawn = draw(ScaleCrop(OWN_SIZE, (64, 64), (0.9, 1.1), 1.0), image, mask, seed)
        ignored = drawn == IGNORE
        assert set(drawn.unique().tolist()) == {0, IGNORE}
        assert changed[:, ~ignored].unique().tolist() == [7]
        assert changed[:, ignored].unique(dim=1).squeeze().tolist() == list(OWN_SIZE.mean_color)


def test_factors_are_of_the_size_that_preprocess_makes() -> None:
    """With "fit" into 32 pixels, an image of 64 at a factor of 1 is halved; factors are symmetric in their logarithm."""
    fit = Preprocess(size=(32, 32), resize="fit", resize_to=None)
    mask = checkerboard(64, 64, 8)
    image = np.repeat(255 * mask[..., None], 3, axis=2)
    _, drawn = draw(ScaleCrop(fit, (32, 32), (1.0, 1.0), 1.0), image, mask, 0)
    np.testing.assert_array_equal(drawn.numpy(), mask[1::2, 1::2])
    lengths = []
    for seed in range(200):
        transform = ScaleCrop(OWN_SIZE, (32, 32), (0.5, 2.0), 1.0)
        with fork_seed(seed):
            lengths.append(math.log2(32 / transform._draw(500, 500)["axes"][0].length))
    assert abs(np.mean(lengths)) < 0.1
    assert (min(lengths), max(lengths)) == pytest.approx((-1, 1), abs=0.05)


def test_a_crop_of_mostly_one_class_is_drawn_again() -> None:
    """A corner of the image has all other classes; crops that see enough of it are found more often, and draws end."""
    mask = np.zeros((96, 96), np.uint8)
    mask[:32, :32] = 1
    image = np.zeros((96, 96, 3), np.uint8)
    shares = {}
    for limit in (1.0, 0.75):
        transform = ScaleCrop(OWN_SIZE, (40, 40), (1.0, 1.0), limit)
        drawn = [draw(transform, image, mask, seed)[1] for seed in range(60)]
        shares[limit] = float(np.mean([(each == 0).float().mean() <= 0.75 for each in drawn]))
    assert shares[0.75] > 2 * shares[1.0] > 0
    calls: list[int] = []
    one = ScaleCrop(OWN_SIZE, (8, 8), (1.0, 1.0), 0.75)
    original, one._draw = one._draw, lambda *size: (calls.append(1), original(*size))[1]  # type: ignore[method-assign]
    draw(one, image[32:], mask[32:], 0)
    assert len(calls) == MAX_DRAWS


def test_image_and_mask_are_flipped_together_and_only_the_image_changes_color() -> None:
    config = SegmentationConfig(crop=(24, 24), scale_jitter=(1.0, 1.0), crop_max_class_fraction=1.0)
    mask = np.tile(np.arange(24, dtype=np.uint8), (24, 1))
    image = np.repeat(10 * mask[..., None], 3, axis=2)
    flipped = train_transform(config, Augment(flip=1.0), OWN_SIZE)
    changed, drawn = draw(flipped, image, mask, 0)
    np.testing.assert_array_equal(drawn.numpy(), mask[:, ::-1])
    np.testing.assert_array_equal(changed[0].numpy(), image[:, ::-1, 0])
    colored = train_transform(config, Augment(flip=0.0, jitter=0.5), OWN_SIZE)
    changed, drawn = draw(colored, image, mask, 0)
    np.testing.assert_array_equal(drawn.numpy(), mask)
    assert (changed[0].numpy() != image[..., 0]).any()


def test_the_same_seed_gives_the_same_crop() -> None:
    random = np.random.default_rng(0)
    image, mask = random.integers(256, size=(60, 70, 3)).astype(np.uint8), checkerboard(60, 70, 9)
    transform = train_transform(SegmentationConfig(crop=(48, 48)), Augment(jitter=0.3), OWN_SIZE)
    one, other, different = (draw(transform, image, mask, seed) for seed in (4, 4, 5))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert not torch.equal(one[0], different[0])
