"""Near copies are found whatever was done to them, and images that differ are not joined."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from resnets.data.check import near_duplicates
from resnets.data.check.near_duplicates import (
    BITS,
    CORRELATION,
    DISTANCE,
    SIMILARITY,
    _bits,
    _near,
    find_near_duplicates,
    is_blank,
    make_thumbnail,
)
from resnets.data.datasets.generate_shapes import Settings, draw


def scene(seed: int, side: int = 160) -> Image.Image:
    """Coarse and fine structure, as a photograph has."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (7, 7, 3), dtype=np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    fine = generator.normal(0, 12, (side, side, 3))
    return Image.fromarray((np.asarray(coarse) * 0.8 + 25 + fine).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved again": lambda image: jpeg(image, 50),
    "smaller": lambda image: image.resize((61, 61)),
    "larger": lambda image: image.resize((400, 400), Image.Resampling.BICUBIC),
    "stretched": lambda image: image.resize((200, 120)),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "cropped by 1 %": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
}


def thumbnails(images: list[Image.Image]) -> np.ndarray:
    return np.stack([make_thumbnail(np.asarray(image.convert("RGB"))) for image in images])


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_among_others(change: str) -> None:
    images = [scene(seed) for seed in range(60)]
    images += [CHANGES[change](images[number]) for number in (3, 17, 42)]
    assert find_near_duplicates(thumbnails(images)) == [[3, 60], [17, 61], [42, 62]]


def test_many_copies_are_one_group() -> None:
    image = scene(1)
    copies = [change(image) for change in CHANGES.values()]
    assert find_near_duplicates(thumbnails([image, scene(2), *copies])) == [[0, *range(2, 2 + len(copies))]]


def test_images_of_one_color_are_blank_and_no_near_duplicates() -> None:
    plain = [Image.new("RGB", (50, 50), (shade, 0, 0)) for shade in (0, 100, 100, 255)]
    found = thumbnails([*plain, scene(1)])
    assert is_blank(found).tolist() == [True] * 4 + [False]
    assert find_near_duplicates(found) == []


def test_nothing_and_one_image_have_no_pairs() -> None:
    assert find_near_duplicates(np.empty((0, 16, 16), dtype=np.uint8)) == []
    assert find_near_duplicates(thumbnails([scene(1)])) == []


def noisy(spread: float, count: int = 800) -> np.ndarray:
    """(count, 16, 16) uint8: some images, each many times with a little noise."""
    generator = np.random.default_rng(0)
    seeds = np.stack([make_thumbnail(np.asarray(scene(seed))) for seed in range(40)])
    mixed = seeds[generator.integers(0, 40, count)] + generator.normal(0, spread, (count, 16, 16))
    return mixed.clip(0, 255).astype(np.uint8)


def test_no_pair_of_near_codes_is_missed() -> None:
    """Against every code compared with every other."""
    bits = np.unique(_bits(noisy(6)), axis=0)
    assert bits.shape[1] == BITS
    distances = (bits[:, None] != bits[None]).sum(axis=2)
    expected = {tuple(pair) for pair in np.argwhere(np.triu(distances <= DISTANCE, 1)).tolist()}
    assert sum(distances[pair] == DISTANCE for pair in expected) > 100
    found = {
        tuple(sorted(pair))
        for first, second in _near(bits)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    }
    assert found == expected


def test_groups_are_what_near_pairs_connect() -> None:
    found = noisy(3)
    bits, cells = _bits(found), found.reshape(len(found), -1).astype(float)
    near = ((bits[:, None] != bits[None]).sum(axis=2) <= DISTANCE) & (np.corrcoef(cells) >= CORRELATION)
    pairs = np.argwhere(np.triu(near, 1)).tolist()
    assert len(pairs) > 1000
    group_of = {number: index for index, group in enumerate(find_near_duplicates(found)) for number in group}
    assert all(group_of[one] == group_of[other] for one, other in pairs)
    assert set(group_of) == {number for pair in pairs for number in pair}


def test_twenty_thousand_images_are_not_compared_each_with_each() -> None:
    """A table of all pairs would take 400 MB at one byte a pair."""
    generator = np.random.default_rng(0)
    pool = np.stack([make_thumbnail(draw(index, Settings(size=32)).pixels) for index in range(300)]).astype(float)
    first, second = generator.integers(0, 300, (2, 20_000))
    fraction = generator.random((20_000, 1, 1))
    mixed = (pool[first] * fraction + pool[second] * (1 - fraction)).clip(0, 255).astype(np.uint8)
    tracemalloc.start()
    try:
        find_near_duplicates(mixed)
        assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    finally:
        tracemalloc.stop()


def test_the_hash_compares_low_frequencies_with_their_median() -> None:
    """Against a cosine transform by its definition."""
    thumbnail = make_thumbnail(np.asarray(scene(3)))
    positions, frequencies = np.arange(16) + 0.5, np.arange(8)
    waves = np.cos(np.pi / 16 * positions * frequencies[:, None])
    low = waves @ thumbnail.astype(np.float64) @ waves.T
    assert np.array_equal(_bits(thumbnail[None])[0], (low > np.median(low)).ravel())


def test_similar_vectors_need_thumbnails_that_are_not_too_different() -> None:
    """A copy with another crop is found by its vector, and an image of the same class with another content is not."""
    first, other = scene(1), scene(2)
    cropped = first.crop((9, 9, 151, 151))
    images = thumbnails([first, other, cropped, scene(5)])
    vectors = np.array([[1, 0], [1, 0.01], [1, 0.02], [0, 1]])
    assert find_near_duplicates(images) == []
    assert find_near_duplicates(images, vectors) == [[0, 2]]
    assert find_near_duplicates(images, np.zeros((4, 2))) == []


def test_vectors_add_pairs_to_those_of_the_hash() -> None:
    first = scene(1)
    images = thumbnails([first, first.resize((80, 80)), first.crop((9, 9, 151, 151)), scene(5)])
    apart = np.eye(4)
    assert find_near_duplicates(images, apart) == find_near_duplicates(images) == [[0, 1]]
    apart[2] = apart[0]
    assert find_near_duplicates(images, apart) == [[0, 1, 2]]
    assert find_near_duplicates(images, np.zeros((4, 4))) == [[0, 1]]


def test_pairs_that_are_reduced_meanwhile_give_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    blocks = random.integers(0, 10, (60, 5))
    pairs = [tuple(4 * block + random.integers(0, 4, (2, 5))) for block in blocks]  # within blocks of four positions
    expected = near_duplicates._connect(np.arange(40), pairs)
    monkeypatch.setattr(near_duplicates, "MAX_PAIRS", 1)
    reductions: list[int] = []
    spanning = near_duplicates._spanning_pairs

    def count(group: np.ndarray) -> np.ndarray:
        reductions.append(1)
        return spanning(group)

    monkeypatch.setattr(near_duplicates, "_spanning_pairs", count)
    assert near_duplicates._connect(np.arange(40), pairs) == expected
    assert len(reductions) > 1
    assert len(expected) == 10


def test_all_similar_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    vectors = np.random.default_rng(0).normal(size=(50, 3))
    cosines = _cosines(vectors)
    expected = {tuple(pair) for pair in np.argwhere(np.triu(cosines >= SIMILARITY, 1)).tolist()}
    assert len(expected) > 10
    found = near_duplicates._similar(near_duplicates._unit(vectors, centered=False))
    assert {pair for first, second in found for pair in zip(first.tolist(), second.tolist(), strict=True)} == expected


def _cosines(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1)
    return vectors @ vectors.T / lengths[:, None] / lengths
