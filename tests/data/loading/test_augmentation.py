from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from resnets.data.image.preprocess import Preprocess
from resnets.data.loading import augmentation


def _image(height: int = 40, width: int = 50) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8))


def test_a_seed_is_a_pure_function_of_what_it_names():
    assert augmentation.derive_seed(1, 2, "a") == augmentation.derive_seed(1, 2, "a")
    assert (
        len(
            {
                augmentation.derive_seed(run, epoch, number)
                for run in range(5)
                for epoch in range(5)
                for number in range(5)
            }
        )
        == 125
    )
    assert augmentation.derive_seed(0, "order") == 5541719180202367972  # a run of today can be repeated in years


def test_within_a_seed_nothing_outside_counts_and_nothing_is_left_behind():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with augmentation.fork_seed(1, 2):
        first = torch.rand(4)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(99)
    with augmentation.fork_seed(1, 2):
        assert torch.equal(first, torch.rand(4))


@pytest.mark.parametrize(
    "values",
    [
        {"crop": "random_resized"},
        {"crop": "shorter_side", "shorter_side": (36, 60)},
        {"crop": "random_resized", "jitter": 0.3, "erase": 1.0, "trivial": True, "pca_std": 0.1},
    ],
    ids=lambda values: "+".join(values),
)
def test_the_result_is_an_augmented_image_of_the_requested_size(values):
    transform = augmentation.train_transform(32, **values)
    with augmentation.fork_seed(0):
        first = transform(_image())
    with augmentation.fork_seed(1):
        second = transform(_image())
    with augmentation.fork_seed(0):
        again = transform(_image())
    assert first.shape == (3, 32, 32)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_pad_crops_from_the_padded_image():
    transform = augmentation.train_transform(8, crop="pad", pad_pixels=2, pad_mode="edge", flip=0.0)
    image = _image(8, 8)
    padded = torch.nn.functional.pad(image.float(), [2] * 4, mode="replicate").to(torch.uint8)
    crops = [padded[:, top : top + 8, left : left + 8] for top in range(5) for left in range(5)]
    for seed in range(20):
        with augmentation.fork_seed(seed):
            made = transform(image)
        assert any(torch.equal(made, crop) for crop in crops)


def test_the_shorter_side_is_drawn_from_its_whole_range():
    resize = augmentation._ShorterSide(36, 60)
    sides = set()
    for seed in range(300):
        with augmentation.fork_seed(seed):
            sides.add(min(resize(_image()).shape[1:]))
    assert sides == set(range(36, 61))


def test_principal_colors_shift_the_whole_image_by_one_color():
    gray = torch.full((3, 6, 6), 128, dtype=torch.uint8)
    shifts = []
    for seed in range(400):
        with augmentation.fork_seed(seed):
            made = augmentation._PrincipalColors(0.1)(gray)
        assert all(len(made[channel].unique()) == 1 for channel in range(3))
        shifts.append(made[:, 0, 0].double() - 128)
    spread = torch.stack(shifts).std(0)
    # sqrt(sum over components of (0.1 * value * vector * 255)^2), a little more from rounding to whole values
    vectors, values = torch.tensor(augmentation.PCA_VECTORS), torch.tensor(augmentation.PCA_VALUES)
    torch.testing.assert_close(spread.float(), (0.1 * 255 * vectors * values).norm(dim=1), rtol=0.15, atol=0.1)


def test_without_augmentation_the_image_is_unchanged():
    assert torch.equal(augmentation.train_transform(40, crop="none", flip=0.0)(_image()), _image())


def test_erased_patches_have_the_mean_color():
    with augmentation.fork_seed(0):
        made = augmentation.train_transform(40, crop="none", flip=0.0, erase=1.0)(_image())
    map_batch = (made != _image()).any(0)
    assert map_batch.any()
    assert made[:, map_batch].unique(dim=1).T.tolist() == [augmentation.ERASE_FILL]


def _whole(**values: object) -> augmentation.BatchCropFlip:
    return augmentation.BatchCropFlip(50, **{"seed": 1, "pad_pixels": 4, "flip": 0.5, **values})


def test_a_whole_batch_is_cropped_and_flipped_as_each_image_would_be():
    images = torch.randn(50, 3, 8, 8)
    numbers = torch.randperm(50)[:20]
    whole = _whole()
    made = whole(images[numbers], numbers, 3, numbers)
    padded = torch.nn.functional.pad(images, [4] * 4)
    for row, number in enumerate(numbers.tolist()):
        top, left = int(whole._top[number]), int(whole._left[number])
        crop = padded[number, :, top : top + 8, left : left + 8]
        expected = v2.functional.horizontal_flip(crop) if whole._flipped[number] else crop
        assert torch.equal(made[row], expected)
    assert made.is_contiguous(memory_format=torch.channels_last)


def test_augmentation_depends_on_the_position_in_the_epoch():
    images = torch.randn(1, 3, 8, 8).expand(50, 3, 8, 8)
    together = _whole()(images, torch.arange(50), 2, torch.arange(50))
    alone = _whole()(images[7:8], torch.tensor([7]), 2, torch.tensor([7]))
    assert torch.equal(together[7:8], alone)
    assert len({each.numpy().tobytes() for each in together}) > 25  # of 162 that there are
    assert not torch.equal(_whole()(images, torch.arange(50), 3, torch.arange(50)), together)


def test_zeros_are_the_same_beside_one_image_as_beside_a_batch():
    preprocess = Preprocess.imagenet(8)
    black = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with augmentation.fork_seed(0):
        one = augmentation.train_transform(8, crop="pad", fill=preprocess.mean_color, flip=0.0)(black)
    border = preprocess.normalize(one)[:, (one != 0).any(0)]
    assert border.shape[1] > 0
    assert border.abs().max() < 0.01  # half a step of 255
    for values, color in (
        (Preprocess.caffe(8), (124, 117, 104)),
        (Preprocess(scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3), (0, 0, 0)),
        (Preprocess(color="gray", mean=(0.5,), std=(1.0,)), (128, 128, 128)),
        (Preprocess(size=(2, 2), mean=(0.1, 0.3) * 2 + (0.4,) * 8, std=(1.0,) * 3), (51, 102, 102)),
    ):
        assert values.mean_color == color


def test_all_offsets_are_drawn_and_half_are_flipped():
    whole = augmentation.BatchCropFlip(5000, seed=0, pad_pixels=4, flip=0.5)
    whole(torch.zeros(1, 3, 8, 8), torch.tensor([0]), 0, torch.tensor([0]))
    assert whole._top.unique().tolist() == list(range(9))
    assert 0.47 < float(whole._flipped.double().mean()) < 0.53


def test_an_alternating_flip_depends_on_the_image_and_changes_with_each_epoch():
    """Half are flipped in the first epoch, whatever their position; two epochs have both views of each."""
    images = torch.arange(50 * 3 * 4 * 4).view(50, 3, 4, 4).float()
    whole = _whole(pad_pixels=0, alternate_flip=True)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    flipped = []
    for epoch in range(4):
        made = whole(images[order], torch.arange(50), epoch, order)
        as_it_was, mirrored = ((made == each).flatten(1).all(1) for each in (images[order], images[order].flip(-1)))
        assert torch.equal(as_it_was, ~mirrored)
        flipped.append(torch.empty(50, dtype=torch.bool).scatter(0, order, mirrored))
        other = whole(images[order[:7]], torch.arange(20, 27), epoch, order[:7])
        assert torch.equal(other, made[:7])
    assert torch.equal(flipped[0], flipped[2])
    assert torch.equal(flipped[1], flipped[3])
    assert torch.equal(flipped[0], ~flipped[1])
    assert 15 <= int(flipped[0].sum()) <= 35
    assert not torch.equal(_whole(seed=2, alternate_flip=True)._flipped_at_first, whole._flipped_at_first)


def test_padding_by_reflection():
    images = torch.randn(50, 3, 6, 6)
    whole = _whole(pad_pixels=2, pad_mode="reflect", flip=0.0)
    made = whole(images, torch.arange(50), 0, torch.arange(50))
    padded = v2.functional.pad(images, [2], padding_mode="reflect")
    for row in range(50):
        top, left = int(whole._top[row]), int(whole._left[row])
        assert torch.equal(made[row], padded[row, :, top : top + 6, left : left + 6])


@pytest.mark.parametrize(
    "values", [{"mixup_alpha": 0.4, "cutmix_alpha": 0.0}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}]
)
def test_mixing_keeps_the_sum_of_the_targets(values):
    images, targets = torch.randn(8, 3, 16, 16), torch.eye(4).repeat(2, 1)
    with augmentation.fork_seed(2):
        mixed, wanted = augmentation.mixup_cutmix(images, targets, **values)
    torch.testing.assert_close(wanted.sum(1), torch.ones(8))
    assert not torch.equal(mixed, images)
    assert ((wanted > 0).sum(1) == 2).all()


def test_without_mixing_a_batch_is_unchanged():
    images, targets = torch.randn(2, 3, 4, 4), torch.eye(2)
    mixed, wanted = augmentation.mixup_cutmix(images, targets, mixup_alpha=0.0, cutmix_alpha=0.0)
    assert mixed is images
    assert wanted is targets
