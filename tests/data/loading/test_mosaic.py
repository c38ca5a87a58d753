"""Mosaic: one image of four, with their objects."""

import collections

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from resnets.data.loading.mosaic import CENTER, draw_mosaic, mosaic

FILL = (1, 2, 3)


def scene(height: int, width: int, boxes: list[tuple[int, int, int, int]], first_label: int, *, masks: bool = True):
    """A random image with the values 10 to 255, and objects that fill their boxes."""
    image = tv_tensors.Image(torch.randint(10, 256, (3, height, width), dtype=torch.uint8))
    target = {
        "boxes": tv_tensors.BoundingBoxes(
            torch.tensor(boxes, dtype=torch.float32).view(-1, 4), format="XYXY", canvas_size=(height, width)
        ),
        "labels": torch.arange(first_label, first_label + len(boxes)),
    }
    if masks:
        filled = torch.zeros(len(boxes), height, width, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(filled, boxes, strict=True):
            mask[y1:y2, x1:x2] = True
        target["masks"] = tv_tensors.Mask(filled)
    return image, target


def four_scenes(*, masks: bool = True):
    return zip(
        scene(40, 30, [(0, 0, 10, 10), (20, 30, 30, 40)], 0, masks=masks),  # the first is cut off
        scene(70, 90, [(0, 60, 20, 70), (30, 0, 89, 69), (50, 10, 60, 16)], 2, masks=masks),
        scene(20, 20, [], 5, masks=masks),
        scene(50, 64, [(5, 5, 15, 25)], 5, masks=masks),
        strict=True,
    )


def test_where_the_images_lie():
    images, targets = four_scenes()
    result, _ = mosaic(images, targets, size=(60, 80), center=(0.5, 0.25), fill=FILL)  # y = 30, x = 20
    assert result.shape == (3, 60, 80)
    assert torch.equal(result[:, :30, :20], images[0][:, 10:, 10:])
    assert torch.equal(result[:, :30, 20:], images[1][:, 40:, :60])
    assert torch.equal(result[:, 30:50, :20], images[2])
    assert torch.equal(result[:, 30:, 20:], images[3][:, :30, :60])
    assert (result[:, 50:, :20] == torch.tensor(FILL)[:, None, None]).all()


def test_slivers_of_objects_are_dropped():
    """Of the objects above the center one shows 1 of 20 rows, the other 2 of 20."""
    above = scene(40, 30, [(0, 0, 10, 20), (10, 1, 20, 21)], 0)
    images, targets = zip(above, *[scene(20, 20, [], 2) for _ in range(3)], strict=True)
    _, target = mosaic(images, targets, size=(42, 60), center=(0.5, 0.5), fill=FILL)  # the first 19 rows are cut off
    assert target["boxes"].tolist() == [[10, 0, 20, 2]]
    assert target["labels"].tolist() == [1]
    assert target["masks"].shape == (1, 42, 60)


def test_where_the_objects_lie():
    images, targets = four_scenes()
    _, target = mosaic(images, targets, size=(60, 80), center=(0.5, 0.25), fill=FILL)
    # The first object of the first image and the third of the second one are cut off; the second one of it is cut.
    assert target["boxes"].tolist() == [[10, 20, 20, 30], [20, 20, 40, 30], [50, 0, 80, 29], [25, 35, 35, 55]]
    assert target["labels"].tolist() == [1, 2, 3, 5]
    assert isinstance(target["boxes"], tv_tensors.BoundingBoxes)
    assert target["boxes"].canvas_size == (60, 80)


def test_masks_move_with_their_boxes():
    images, targets = four_scenes()
    for center in ((0.5, 0.25), (0.7, 0.7), (0.3, 0.6)):
        result, target = mosaic(images, targets, size=(60, 80), center=center, fill=FILL)
        assert isinstance(target["masks"], tv_tensors.Mask)
        assert target["masks"].shape == (len(target["boxes"]), 60, 80)
        for box, mask in zip(target["boxes"].int().tolist(), target["masks"], strict=True):
            filled = torch.zeros(60, 80, dtype=torch.bool)
            filled[box[1] : box[3], box[0] : box[2]] = True
            assert torch.equal(torch.as_tensor(mask), filled)
        assert (result >= 10).any()


def test_every_pixel_of_an_object_is_that_of_its_image():
    """Each image has one color, and each object the label of its image."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        images, targets = [], []
        for label in range(4):
            height, width = torch.randint(20, 120, (2,), generator=generator).tolist()
            _, target = scene(height, width, [(2, 3, width - 2, height - 1), (4, 4, 12, 16)], 0, masks=False)
            images.append(torch.full((3, height, width), 50 * (label + 1), dtype=torch.uint8))
            targets.append(target | {"labels": torch.full((2,), label)})
        draw = draw_mosaic(1.0, 4, seed=0, epoch=0, position=int(torch.randint(1000, (), generator=generator)))
        assert draw is not None
        result, target = mosaic(images, targets, size=(64, 96), center=draw.center, fill=FILL)
        assert "masks" not in target
        for box, label in zip(target["boxes"].int().tolist(), target["labels"].tolist(), strict=True):
            part: Tensor = result[:, box[1] : box[3], box[0] : box[2]]
            assert part.numel() > 0
            assert (part == 50 * (label + 1)).all()


def test_without_objects():
    images, targets = zip(*[scene(30, 30, [], 0) for _ in range(4)], strict=True)
    _, target = mosaic(images, targets, size=(64, 64), center=(0.5, 0.5), fill=FILL)
    assert target["boxes"].shape == (0, 4)
    assert target["labels"].dtype == torch.int64
    assert target["masks"].shape == (0, 64, 64)


def test_the_draw_is_a_function_of_seed_epoch_and_position():
    def draws(seed: int, epoch: int, probability: float = 1.0):
        return [draw_mosaic(probability, 10, seed=seed, epoch=epoch, position=position) for position in range(2000)]

    assert draws(0, 1) == draws(0, 1)
    assert draws(0, 1) != draws(0, 2)
    assert draws(0, 1) != draws(1, 1)
    assert 550 < sum(draw is not None for draw in draws(0, 1, 0.3)) < 650
    assert draws(0, 1, 0.0) == [None] * 2000
    counts = collections.Counter(partner for draw in draws(0, 1) for partner in draw.partners)
    assert sorted(counts) == list(range(10))
    assert min(counts.values()) > 500
    centers = torch.tensor([draw.center for draw in draws(0, 1)])
    assert centers.min() >= CENTER[0]
    assert centers.max() <= CENTER[1]
    assert centers.mean() == pytest.approx(0.5, abs=0.01)
