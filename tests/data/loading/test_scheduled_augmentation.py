"""Multi-scale training and mosaics in the training loader."""

from __future__ import annotations

import collections
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.in_soak import IN_SOAK
from torchvision import tv_tensors
from torchvision.transforms import v2

from resnets.data.loading import ram_cache, train_loader
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.scheduled_augmentation import Key, ScheduledAugmentation
from resnets.data.loading.train_loader import Targets
from resnets.errors import JobError

COUNT, BATCH, SIDE = 13, 4, 96
WHOLE = partial(ram_cache.decode_resized, min_side=1000)  # not of this file, since workers may be other processes


def transform_of(side: int) -> v2.Transform:
    return v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.3), v2.Resize((side, side))])


def scheduled(**values: Any) -> ScheduledAugmentation:
    """Steps have mosaics up to the second of the second epoch."""
    both = {"multiscale": True, "mosaic": 0.6, "mosaic_end": EpochStep(1, 2)} | values
    return ScheduledAugmentation(transform_of, imgsz=SIDE, seed=5, num_images=COUNT, fill=(9, 8, 7), **both)


@pytest.fixture
def images(tmp_path: Path) -> ram_cache.LazyImages:
    random = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number:02d}.png") for number in range(COUNT)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return ram_cache.LazyImages(paths, WHOLE)


def target(index: int) -> dict[str, Any]:
    """One object, whose label is the index of the image, and its mask."""
    mask = torch.zeros(1, 20, 24, dtype=torch.bool)
    mask[:, 4:16, 6:18] = True
    boxes = tv_tensors.BoundingBoxes([[6.0, 4, 18, 16]], format="XYXY", canvas_size=(20, 24))  # type: ignore[call-overload]
    return {"boxes": boxes, "labels": torch.tensor([index]), "masks": tv_tensors.Mask(mask)}


TARGETS = Targets([target(index) for index in range(COUNT)], list)


def batches(images: ram_cache.Images, count: int, plan: BatchPlan | None = None, **values: Any) -> list[Batch]:
    varied = values.pop("scheduled", None) or scheduled()
    found = train_loader.train_batches(
        images,
        plan or BatchPlan(COUNT, BATCH, seed=5),
        transform_of(SIDE),
        targets=TARGETS,
        scheduled=varied,
        **values,
    )
    return list(itertools.islice(found, count))


def same(a: Batch, b: Batch) -> bool:
    pairs = zip(a.targets, b.targets, strict=True)
    return (
        a[:2] == b[:2]
        and all(torch.equal(one, other) for one, other in zip(a.images, b.images, strict=True))
        and all(torch.equal(one[name], other[name]) for one, other in pairs for name in one)
    )


@pytest.mark.parametrize("workers", [1, 2] if IN_SOAK else [2])
def test_workers_change_nothing(images: ram_cache.LazyImages, workers: int) -> None:
    cached = ram_cache.CachedImages(images)
    alone = batches(images, 8)
    for source in (images, cached):
        assert all(same(a, b) for a, b in zip(alone, batches(source, 8, workers=workers), strict=True))


def test_two_ranks_see_what_one_sees(images: ram_cache.LazyImages) -> None:
    one = batches(images, 8)
    plans = [BatchPlan(COUNT, BATCH, seed=5, rank=rank, world_size=2) for rank in range(2)]
    for whole, *parts in zip(one, *(batches(images, 8, plan) for plan in plans), strict=True):
        joined = whole._replace(
            images=[image for part in parts for image in part.images],
            targets=[each for part in parts for each in part.targets],
        )
        assert same(whole, joined)


def test_a_run_can_be_resumed_at_any_step(images: ram_cache.LazyImages) -> None:
    whole = batches(images, 8)
    for start in range(8):
        assert same(whole[start], batches(images, 1, start=EpochStep(*divmod(start, COUNT // BATCH)))[0])


def test_all_images_of_a_step_have_one_size(images: ram_cache.LazyImages) -> None:
    shapes = [
        batch.images.shape[1:] for batch in batches(images, 60, workers=2) if isinstance(batch.images, torch.Tensor)
    ]
    assert len(shapes) == 60
    assert {shape[1] for shape in shapes} == {64, 96, 128}
    fixed = batches(images, 3, scheduled=scheduled(multiscale=False))
    assert {tuple(batch.images[0].shape) for batch in fixed} == {(3, SIDE, SIDE)}


def test_examples_are_mosaics_with_the_probability_until_the_last_steps(images: ram_cache.LazyImages) -> None:
    varied = scheduled()
    counts = [
        collections.Counter(len(varied.indices(Key(epoch, step, position, 1))) for position in range(2000))
        for epoch, step in ((0, 2), (1, 1), (1, 2), (2, 0))
    ]
    assert all(count.keys() == {1, 4} and 1100 < count[4] < 1300 for count in counts[:2])
    assert counts[2:] == [{1: 2000}] * 2
    assert varied.indices(Key(0, 0, 3, 7))[0] == 7
    found = batches(images, 9)
    labels = [len(each["labels"]) for batch in found for each in batch.targets]
    assert max(labels[16:20]) == 4
    assert set(labels[20:]) == {1}


def test_each_image_of_a_mosaic_is_augmented_with_its_own_target() -> None:
    """The pixels of each object have the color that belongs to its label, whatever was flipped and cut off."""
    images = [np.zeros((20, 24, 3), np.uint8) for _ in range(COUNT)]
    for index, image in enumerate(images):
        image[4:16, 6:18] = 60 + 15 * index
    varied = scheduled(multiscale=False, mosaic=1.0)
    nearest = v2.InterpolationMode.NEAREST_EXACT
    varied.transform_of = lambda side: v2.Compose([v2.RandomHorizontalFlip(), v2.Resize((side, side), nearest)])
    seen = []
    for batch in batches(images, 3, scheduled=varied):
        for image, found in zip(batch.images, batch.targets, strict=True):
            for box, label, mask in zip(
                found["boxes"].round().int().tolist(), found["labels"], found["masks"], strict=True
            ):
                inside = image[:, box[1] + 1 : box[3] - 1, box[0] + 1 : box[2] - 1]
                assert (inside == 60 + 15 * label).all()
                assert (image[:, mask] == 60 + 15 * label).all()
                assert mask.sum() == pytest.approx((box[3] - box[1]) * (box[2] - box[0]), rel=0.2)
                seen.append(int(label))
    assert len(seen) > 24
    assert len(set(seen)) > 8


def test_a_partner_that_vanished_is_named(images: ram_cache.LazyImages) -> None:
    varied = scheduled(mosaic=1.0)
    first = BatchPlan(COUNT, 1, seed=5).epoch_indices(0)[0]
    partner = next(index for index in varied.indices(Key(0, 0, 0, int(first)))[1:] if index != first)
    Path(images.paths[partner]).unlink()
    with pytest.raises(JobError, match=rf"{partner:02d}\.png"):
        batches(images, 1, BatchPlan(COUNT, 1, seed=5), scheduled=varied)
