"""The order of an epoch depends on seed and epoch alone, and reads files as streams."""

from __future__ import annotations

import random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnets.data.loading.epoch_order import SHUFFLE_WINDOW, BatchPlan, EpochStep, epoch_indices, sample_indices


def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = epoch_indices(50, seed=0, epoch=3)
    torch.manual_seed(2)
    assert torch.equal(first, epoch_indices(50, seed=0, epoch=3))
    assert sorted(first.tolist()) == list(range(50))
    assert not torch.equal(first, epoch_indices(50, seed=0, epoch=4))
    assert not torch.equal(first, epoch_indices(50, seed=1, epoch=3))


def test_weights_draw_the_rare_as_often_as_the_common():
    weights = torch.tensor([1 / 90] * 90 + [1 / 10] * 10)
    numbers = torch.cat([epoch_indices(100, seed=0, epoch=epoch, weights=weights) for epoch in range(40)])
    assert 0.46 < float((numbers >= 90).double().mean()) < 0.54


def test_more_weights_than_multinomial_takes():
    weights = torch.ones(2**24 + 1)
    many = sample_indices(weights, 1000, torch.Generator().manual_seed(0))
    assert many.dtype == torch.int64
    assert 0 <= int(many.min()) < 2**20
    assert 2**24 - 2**20 < int(many.max()) <= 2**24
    few = sample_indices(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), 4000, torch.Generator().manual_seed(0))
    assert few.unique().tolist() == [1, 3]
    assert 0.72 < float((few == 3).double().mean()) < 0.78


@settings(max_examples=60)
@given(
    shard_sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=12),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 5),
)
def test_an_epoch_has_each_image_once_and_reads_few_files_at_a_time(shard_sizes, seed, epoch) -> None:
    count = sum(shard_sizes)
    found = epoch_indices(count, seed=seed, epoch=epoch, shard_sizes=shard_sizes)
    assert torch.equal(found.sort().values, torch.arange(count))
    assert torch.equal(found, epoch_indices(count, seed=seed, epoch=epoch, shard_sizes=shard_sizes))
    file_of = torch.repeat_interleave(torch.arange(len(shard_sizes)), torch.tensor(shard_sizes))
    seen: dict[int, list[int]] = {}
    for number, indices in enumerate(found.split(SHUFFLE_WINDOW)):
        for file in set(file_of[indices].tolist()):
            seen.setdefault(file, []).append(number)
    for file, windows in seen.items():  # a file's images come one window after the other
        assert windows == list(range(windows[0], windows[-1] + 1))
        assert len(windows) <= -(-shard_sizes[file] // SHUFFLE_WINDOW) + 1


@settings(max_examples=30)
@given(
    shard_sizes=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    world_size=st.integers(1, 3),
    start=st.integers(0, 5),
)
def test_ranks_divide_an_epoch_and_any_step_can_be_resumed(shard_sizes, world_size, start) -> None:
    count, batch = sum(shard_sizes), 2 * world_size
    if count < batch:
        return
    plans = [
        BatchPlan(count, batch, 3, rank=rank, world_size=world_size, shard_sizes=shard_sizes)
        for rank in range(world_size)
    ]
    steps = plans[0].steps_per_epoch
    taken = [[next_ for next_, _ in zip(plan.batches(EpochStep()), range(steps), strict=False)] for plan in plans]
    numbers = [number for batches in taken for _, _, indices in batches for number in indices.tolist()]
    assert len(numbers) == len(set(numbers)) == steps * batch
    start_step = EpochStep(0, start % steps)
    for plan, batches in zip(plans, taken, strict=True):
        epoch, step, indices = next(plan.batches(start_step))
        assert (epoch, step) == start_step
        assert torch.equal(indices, batches[start_step.step][2])


def test_epochs_and_seeds_have_other_orders() -> None:
    shard_sizes = [random.Random(0).randint(1, 900) for _ in range(9)]
    orders = [
        epoch_indices(sum(shard_sizes), seed=s, epoch=e, shard_sizes=shard_sizes) for s, e in ((0, 0), (0, 1), (1, 0))
    ]
    assert not torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
