from __future__ import annotations

import pickle
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnets.data.loading import ram_cache
from resnets.errors import JobError


@pytest.fixture
def lazy(tmp_path: Path) -> ram_cache.LazyImages:
    random = np.random.default_rng(0)
    for number, size in enumerate([(90, 60), (50, 70), (64, 64), (300, 200)]):
        # smooth, so that a JPEG of it is not all noise
        small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"{number}.jpg", quality=95)
    paths = sorted(str(path) for path in tmp_path.glob("*.jpg"))
    return ram_cache.LazyImages(paths, partial(ram_cache.decode_resized, min_side=40))


def test_cached_images_equal_lazy_ones_to_the_bit(lazy):
    kept = ram_cache.CachedImages(lazy)
    assert len(kept) == len(lazy) == 4
    assert kept.stacked is None
    assert all(np.array_equal(kept[number], lazy[number]) for number in range(4))


def test_images_of_one_size_are_one_array(lazy):
    squares = ram_cache.LazyImages(lazy.paths, lambda path: ram_cache.decode_resized(path, min_side=40)[:40, :40])
    kept = ram_cache.CachedImages(squares, size=(40, 40))
    assert all(np.array_equal(kept[number], squares[number]) for number in range(4))
    assert kept.stacked.shape == (4, 40, 40, 3)
    assert all(np.shares_memory(kept[number], kept.stacked) for number in range(4))
    assert len(kept) == 4
    assert len(pickle.dumps(kept)) < 1.5 * kept.stacked.nbytes  # for a worker that is spawned


def test_images_are_resized_to_the_side_that_is_needed(lazy):
    assert [min(lazy[number].shape[:2]) for number in range(4)] == [40, 40, 40, 40]
    assert lazy[0].shape == (40, 60, 3)
    assert lazy[3].dtype == np.uint8


def test_a_smaller_image_is_not_resized(lazy):
    assert ram_cache.decode_resized(lazy.paths[2], min_side=100).shape == (64, 64, 3)


def test_a_resized_image_looks_like_the_original(lazy):
    full = np.asarray(Image.open(lazy.paths[3]).resize((60, 40), Image.Resampling.BOX), dtype=float)
    assert np.abs(full - lazy[3]).mean() < 4


def test_the_decision_for_the_cache_and_its_reason(lazy):
    large = ram_cache.decide_cache("auto", lazy, available=10**9, advice="make them smaller")
    assert large.mode == "ram"
    assert large.bytes == sum(lazy[number].nbytes for number in range(4))
    assert str(large).endswith("less than 40% of the 1.0 GB of memory that are free)")
    assert f"the images take {large.bytes / 1000:.1f} kB" in str(large)  # not "0 MB"
    small = ram_cache.decide_cache("auto", lazy, available=large.bytes, advice="make them smaller")
    assert small.mode == "off"
    assert re.search(r"kB, more than 40% .* that are free; make them smaller\)", str(small))


def test_a_requested_cache_mode_is_used(lazy):
    assert ram_cache.decide_cache("ram", lazy, available=0).mode == "ram"
    assert ram_cache.decide_cache("off", lazy, available=10**12).mode == "off"


def test_every_unreadable_image_is_named_at_once(lazy):
    for number in (1, 3):
        path = Path(lazy.paths[number])
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(JobError) as caught:
        ram_cache.CachedImages(lazy)
    assert "1.jpg" in str(caught.value)
    assert "3.jpg" in str(caught.value)
    assert "0.jpg" not in str(caught.value)


def test_free_memory_is_a_number_of_bytes():
    assert 10**7 < ram_cache.free_memory() < 10**14
