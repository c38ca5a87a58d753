from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnets.data.loading import augmentation, ram_cache, train_loader
from resnets.data.loading.batch import Batch
from resnets.data.loading.epoch_order import BatchPlan, EpochStep
from resnets.data.loading.watch_workers import init_worker
from resnets.errors import JobError

# Not a function of this file, which a spawned process could not import.
WHOLE = functools.partial(ram_cache.decode_resized, min_side=1000)


@pytest.fixture
def images(tmp_path: Path) -> ram_cache.LazyImages:
    random = np.random.default_rng(0)
    paths = []
    for number in range(13):
        paths.append(str(tmp_path / f"{number:02d}.png"))
        Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(paths[-1])
    return ram_cache.LazyImages(paths, WHOLE)


TRANSFORM = augmentation.train_transform(16, crop="random_resized", jitter=0.3, erase=0.5)


def _some(images: ram_cache.Images, count: int, **values: object) -> list[Batch]:
    return list(
        itertools.islice(train_loader.train_batches(images, BatchPlan(13, 4, seed=5), TRANSFORM, **values), count)
    )


def _same(a: Batch, b: Batch) -> bool:
    return a[:2] == b[:2] and torch.equal(a.indices, b.indices) and torch.equal(a.images, b.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_is_drawn_several_times_is_augmented_anew_each_time(images, workers):
    weights = torch.tensor([50.0] + [1.0] * 12)
    plan = BatchPlan(13, 10, seed=5, weights=weights)
    batch = next(train_loader.train_batches(images, plan, TRANSFORM, workers=workers))
    copies = batch.images[batch.indices == 0]
    assert len(copies) >= 5
    assert len({each.numpy().tobytes() for each in copies}) == len(copies)
    stack = torch.stack([augmentation.as_tensor(images[number]) for number in range(13)])
    whole = next(train_loader.tensor_batches(stack, plan))
    assert torch.equal(whole.indices, batch.indices)
    assert torch.equal(whole.positions, torch.arange(10))
    chunks = [
        next(train_loader.train_batches(images, replace(plan, rank=rank, world_size=2), TRANSFORM)) for rank in range(2)
    ]
    assert torch.equal(torch.cat([chunk.images for chunk in chunks]), batch.images)


def test_an_epoch_has_whole_batches_of_different_images(images):
    batches = _some(images, 7)
    assert [(batch.epoch, batch.step) for batch in batches] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert all(batch.images.shape == (4, 3, 16, 16) and batch.images.dtype == torch.uint8 for batch in batches)
    assert len(set(torch.cat([batch.indices for batch in batches[:3]]).tolist())) == 12


def test_fewer_images_than_a_batch_still_make_one(images):
    plan = BatchPlan(13, 32, seed=0)
    assert plan.steps_per_epoch == 1
    assert len(next(train_loader.train_batches(images, plan, TRANSFORM)).indices) == 13


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(images, workers):
    alone = _some(images, 5)
    together = _some(images, 5, workers=workers)
    assert all(_same(a, b) for a, b in zip(alone, together, strict=True))


def test_spawned_workers_change_nothing(images, monkeypatch):
    # Windows and macOS start workers this way; everything that goes to them must be picklable.
    monkeypatch.setattr(torch.multiprocessing, "_default_start_method", "spawn", raising=False)
    made = torch.utils.data.DataLoader(
        train_loader._AugmentedImages(images, TRANSFORM, None, 5),
        batch_sampler=train_loader._BatchSampler(BatchPlan(13, 4, seed=5), EpochStep()),
        num_workers=1,
        collate_fn=functools.partial(train_loader._collate, None),
        worker_init_fn=init_worker,
        multiprocessing_context="spawn",
    )
    spawned = list(itertools.islice(made, 2))
    assert all(_same(a, b) for a, b in zip(_some(images, 2), spawned, strict=True))


def test_a_run_can_be_resumed_at_any_step(images):
    whole = _some(images, 8)
    assert all(_same(a, b) for a, b in zip(whole[4:], _some(images, 4, start=EpochStep(1, 1)), strict=True))
    assert _same(whole[3], _some(images, 1, start=EpochStep(0, 3))[0])  # after the last step of an epoch


def test_the_loader_leaves_the_random_state_of_the_run_alone(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    _some(images, 3, workers=1)
    assert torch.equal(before, torch.get_rng_state())


def test_stacked_images_come_in_the_same_order(images):
    stack = torch.stack([augmentation.as_tensor(images[number]) for number in range(13)])
    batch = next(train_loader.tensor_batches(stack, BatchPlan(13, 4, seed=5), start=EpochStep(1, 2)))
    assert torch.equal(batch.indices, _some(images, 6)[5].indices)
    assert torch.equal(batch.images, stack[batch.indices])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanished_is_named(images, workers):
    Path(images.paths[6]).unlink()
    with pytest.raises(JobError, match=r"06\.png"):
        _some(images, 12, workers=workers)


def test_workers_leave_an_interrupt_to_the_main_process(images):
    batches = train_loader.train_batches(images, BatchPlan(13, 4, seed=5), TRANSFORM, workers=1)
    next(batches)
    workers = [each.pid for each in multiprocessing.active_children()]
    for pid in workers:
        os.kill(pid, signal.SIGINT)
    assert workers
    assert [next(batches).step for _ in range(6)] == [1, 2, 0, 1, 2, 0]


def test_a_stuck_read_without_workers_is_named(images, monkeypatch):
    monkeypatch.setenv("RESNETS_TIMEOUT_MINUTES", "0.001")
    never = threading.Event()
    stuck = ram_cache.LazyImages(images.paths[:1], lambda path: never.wait() and np.empty(0))
    with pytest.raises(JobError, match=r"00\.png' could not be read within 0\.001 minutes"):
        next(train_loader.train_batches(stuck, BatchPlan(1, 1, seed=5), TRANSFORM, workers=0))
    never.set()
