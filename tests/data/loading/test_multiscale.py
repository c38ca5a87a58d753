"""Image sizes that change during training."""

import collections

import pytest

from resnets.data.loading.multiscale import training_size


@pytest.mark.parametrize(
    ("imgsz", "sizes"),
    [(416, range(320, 609, 32)), (640, range(480, 929, 32)), (64, range(64, 97, 32)), (32, range(32, 33, 32))],
)
def test_all_multiples_of_32_about_the_size_are_as_frequent(imgsz, sizes):
    drawn = collections.Counter(
        training_size(imgsz, seed=0, epoch=epoch, step=10 * step) for epoch in range(20) for step in range(50)
    )
    assert sorted(drawn) == list(sizes)
    assert min(drawn.values()) > 0.6 * 1000 / len(sizes)


def test_a_size_lasts_ten_steps_and_depends_on_seed_and_epoch():
    sizes = [training_size(416, seed=1, epoch=2, step=step) for step in range(40)]
    assert all(len(set(sizes[start : start + 10])) == 1 for start in range(0, 40, 10))
    assert sizes == [training_size(416, seed=1, epoch=2, step=step) for step in range(40)]

    def first_sizes(seed: int, epoch: int) -> list[int]:
        return [training_size(416, seed=seed, epoch=epoch, step=10 * i) for i in range(10)]

    assert first_sizes(1, 2) != first_sizes(1, 3)
    assert first_sizes(1, 2) != first_sizes(2, 2)
