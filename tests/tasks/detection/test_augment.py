"""Boxes and masks move with the pixels of their objects."""

from dataclasses import replace

import pytest
import torch
from torchvision import tv_tensors

from resnets.data.image.preprocess import Preprocess
from resnets.data.loading.augmentation import fork_seed
from resnets.recipes.recipe import Augment
from resnets.tasks.detection.augment import FitJitter, train_transform
from resnets.tasks.detection.config import DetectionConfig

PREPROCESS = Preprocess(size=(96, 96), resize="fit", mean=(0.0,) * 3, std=(1.0,) * 3)
CONFIG = DetectionConfig(zoom_out=0.5, object_crop=0.5, scale_jitter=(0.6, 1.6))


def example(height: int, width: int) -> tuple[tv_tensors.Image, dict]:
    """A black image with a white and a gray rectangle."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    boxes = torch.tensor([[10, 12, 40, 36], [50, 30, 70, 60]])
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    for value, box, mask in zip((255, 120), boxes.tolist(), masks, strict=True):
        x1, y1, x2, y2 = box
        image[:, y1:y2, x1:x2] = value
        mask[y1:y2, x1:x2] = True
    target = {
        "boxes": tv_tensors.BoundingBoxes(boxes.float(), format="XYXY", canvas_size=(height, width)),
        "labels": torch.tensor([0, 1]),
        "masks": tv_tensors.Mask(masks),
    }
    return tv_tensors.Image(image), target


@pytest.mark.parametrize("seed", range(12))
def test_objects_stay_on_their_pixels(seed: int) -> None:
    transform = train_transform(CONFIG, Augment(flip=0.5), PREPROCESS)
    with fork_seed(seed):
        image, target = transform(*example(80, 110))
    assert image.dtype == torch.uint8
    assert max(image.shape[1:]) <= 96
    assert len(target["boxes"]) == len(target["labels"]) == len(target["masks"])
    assert target["masks"].shape[1:] == target["boxes"].canvas_size == image.shape[1:]
    for box, label, mask in zip(target["boxes"], target["labels"], target["masks"], strict=True):
        value = (255, 120)[int(label)]
        lit = (image[0].int() - value).abs() < 40
        inside = torch.zeros_like(lit)
        x1, y1, x2, y2 = box.round().int().tolist()
        inside[y1:y2, x1:x2] = True
        if (x2 - x1) * (y2 - y1) > 60:
            assert (lit & inside).sum() > 0.75 * inside.sum()
            assert (mask & inside).sum() > 0.75 * inside.sum()


def test_an_image_without_objects_passes() -> None:
    transform = train_transform(CONFIG, Augment(), PREPROCESS)
    image, target = example(50, 70)
    empty = {name: each[:0] for name, each in target.items()}
    empty["boxes"] = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=(50, 70))
    empty["masks"] = tv_tensors.Mask(target["masks"][:0])
    for seed in range(5):
        with fork_seed(seed):
            found, kept = transform(image, empty)
        assert kept["boxes"].shape == (0, 4)
        assert kept["masks"].shape == (0, *found.shape[1:])


def test_without_jitter_the_image_has_the_size_of_an_evaluation() -> None:
    for height, width in ((80, 110), (200, 40), (96, 96)):
        image, target = FitJitter(replace(PREPROCESS, resize_to=48), (1.0, 1.0))(*example(height, width))
        assert image.shape[1:] == replace(PREPROCESS, resize_to=48).placement(height, width).size
        assert target["boxes"].canvas_size == image.shape[1:]


def test_the_same_seed_gives_the_same_example() -> None:
    transform = train_transform(CONFIG, Augment(jitter=0.3), PREPROCESS)
    results = []
    for _ in range(2):
        with fork_seed(7):
            results.append(transform(*example(80, 110)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1]["boxes"], results[1][1]["boxes"])
