"""Images are resized and cropped as torchvision does it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from resnets.data.image import resizing

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", resizing.INTERPOLATIONS)
@pytest.mark.parametrize("image", [IMAGE, IMAGE.transpose(Image.Transpose.ROTATE_90)], ids=["wide", "high"])
def test_the_shorter_side_is_resized_to_a_length(name: str, image: Image.Image) -> None:
    method = resizing.METHODS[name]
    wanted = functional.resize(image, [33], interpolation=functional.InterpolationMode[name.upper()])
    assert resizing.resize_shorter_side(image, 33, method).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("size", [(20, 30), (21, 33), (60, 40), (80, 90)])
def test_the_center_of_larger_and_smaller_images(size: tuple[int, int]) -> None:
    assert resizing.center_crop(IMAGE, size).tobytes() == functional.center_crop(IMAGE, list(size)).tobytes()


def test_the_corners_and_the_center() -> None:
    found = resizing.five_crop(IMAGE, (20, 30))
    assert [each.tobytes() for each in found] == [each.tobytes() for each in functional.five_crop(IMAGE, [20, 30])]


def test_a_padded_image_is_whole_and_centered() -> None:
    made = resizing.to_chw(resizing.resize_pad(IMAGE, (142, 142), Image.Resampling.NEAREST, (1, 2, 3)))
    assert torch.equal(made[:, 21:121:2, ::2], resizing.to_chw(IMAGE))
    assert made[:, :21].flatten(1).unique(dim=1).flatten().tolist() == [1, 2, 3]


def test_fitted_sizes_are_those_of_exact_numbers() -> None:
    random = np.random.default_rng(0)
    for size in [(224, 224), (45, 61), (800, 800)]:
        for height, width in [(150, 3), *random.integers(1, 1500, (300, 2)).tolist()]:
            for shorter in (None, 40):
                ratio = min(Fraction(size[0], height), Fraction(size[1], width))
                if shorter is not None:
                    ratio = min(ratio, Fraction(shorter, min(height, width)))
                expected = max(round(height * ratio), 1), max(round(width * ratio), 1)
                assert resizing.fitted_size((height, width), size, shorter) == expected
    assert resizing.fitted_size((320, 45), (224, 224)) == (224, 32)  # 31.5, in floating point a little less


def test_the_box_of_a_very_long_image_is_its_center() -> None:
    assert resizing.center_strip_box((71, 50), 256) == (0, 0, 71, 50)
    left, top, right, bottom = resizing.center_strip_box((10**6, 1), 256)
    assert (top, bottom) == (0, 1)
    assert abs(left + right - 10**6) <= 1
    assert (right - left) * 256 * 256 <= resizing.MAX_PIXELS
