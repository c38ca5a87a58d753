from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools

from resnets.data.object_datasets import object_masks
from resnets.data.object_datasets.object_masks import Polygons, RunLengths


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mask = np.zeros((height, width), dtype=bool)
    for _ in range(3):
        y, x = generator.integers(0, height), generator.integers(0, width)
        mask[y : y + generator.integers(1, 9), x : x + generator.integers(1, 9)] ^= True
    return mask


def as_text(coco: dict) -> dict:
    return {"size": list(coco["size"]), "counts": coco["counts"].decode()}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 13), (31, 17), (64, 1)])
def test_run_lengths_of_both_kinds_are_those_of_pycocotools(height: int, width: int) -> None:
    for seed in range(20):
        mask = blobs(seed, height, width)
        compressed = as_text(pycocotools.encode(np.asfortranarray(mask, dtype=np.uint8)))
        column_major = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(column_major)) + 1
        counts = np.diff([0, *edges, mask.size]).tolist()
        counts = [0, *counts] if column_major[0] else counts

        for counts_value in (compressed["counts"], counts):
            read = object_masks.read_run_lengths({"size": [height, width], "counts": counts_value})
            assert read == RunLengths(height, width, compressed["counts"]) == object_masks.encode(mask)
            np.testing.assert_array_equal(read.decode(height, width), mask)
            assert read.to_coco(height, width) == compressed
        x, y, w, h = pycocotools.toBbox(pycocotools.encode(np.asfortranarray(mask, dtype=np.uint8)))
        if mask.any():
            assert read.box() == (x, y, x + w, y + h)


def test_polygons_are_filled_as_by_pycocotools() -> None:
    generator = np.random.default_rng(0)
    for height, width in ((5, 9), (33, 20), (64, 64)):
        for _ in range(20):
            values = [
                (generator.random(2 * generator.integers(3, 9)) * 1.2 * max(height, width) - 4).tolist() for _ in "ab"
            ]
            mask = object_masks.read_polygons(values)
            assert mask is not None
            expected = pycocotools.merge(pycocotools.frPyObjects(values, height, width))
            assert mask.to_coco(height, width) == as_text(expected)
            np.testing.assert_array_equal(mask.decode(height, width), pycocotools.decode(expected).astype(bool))


def test_a_polygon_may_stand_without_a_list_around_it_and_none_is_no_mask() -> None:
    assert object_masks.read_polygons([0, 0, 4, 0, 4, 2]) == Polygons(((0.0, 0.0, 4.0, 0.0, 4.0, 2.0),))
    assert object_masks.read_polygons([]) is None
    mask = object_masks.read_polygons([[0, 0, 4, 0, 4, 2], [1, 5, 2, 7, 3, 6]])
    assert mask is not None
    assert mask.box() == (0, 0, 4, 7)
    assert json.dumps(mask.to_coco(8, 8))
    assert hash(mask) == hash(Polygons(mask.points))


@pytest.mark.parametrize(
    "values",
    [
        [[0, 0, 4, 0]],
        [[0, 0, 4, 0, 1]],
        [[0, 0, "a", 0, 4, 2]],
        [[0, 0, float("nan"), 0, 4, 2]],
        [[1e300] * 6],
        [10**400] * 6,
        [{}],
    ],
)
def test_what_is_no_polygon_is_refused(values: list) -> None:
    with pytest.raises(ValueError, match="polygon"):
        object_masks.read_polygons(values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"size": [5, 5]},
        {"size": [5, 5], "counts": [3, 4, 180]},
        {"size": [5, 5], "counts": [3, 4]},
        {"size": [5, 5], "counts": [-3, 28]},
        {"size": [5, 5], "counts": ["25"]},
        {"size": [5, 5], "counts": []},
        {"size": [5, 5], "counts": ""},
        {"size": [5, 5], "counts": "zzzz"},
        {"size": [5, 5], "counts": "é"},
        {"size": [5, 5], "counts": "o" * 50},
        {"size": [0, 5], "counts": [0]},
        {"size": [10**12, 10**12], "counts": [10**24]},
        {"size": 5, "counts": [25]},
    ],
)
def test_what_is_no_run_length_is_refused(values: dict) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        object_masks.read_run_lengths(values)


def test_a_mask_of_another_size_is_not_decoded() -> None:
    mask = object_masks.encode(np.eye(4, dtype=bool))
    with pytest.raises(ValueError, match="4x4 pixels in an image of 5x4"):
        mask.decode(4, 5)
