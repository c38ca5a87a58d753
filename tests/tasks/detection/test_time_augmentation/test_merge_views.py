"""Each object once, whatever tiles and views it was found in."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms, box_iou

from resnets.tasks.detection.test_time_augmentation.image_views import Region, Views
from resnets.tasks.detection.test_time_augmentation.merge_views import Candidates, Merged, merge

Box = tuple[float, float, float, float]
SIZE = (1000, 1000)
TILED = Views(tile=400, tile_overlap=0.25)  # of 9 tiles, which begin at 0, 300 and 600


def merged(found: Sequence[tuple[Region, Box, float]], iou: float = 0.5, labels: Sequence[int] = ()) -> Merged:
    """Objects that were found in a region, each with its box and score."""
    regions = list(dict.fromkeys(region for region, _, _ in found))
    candidates = Candidates(
        np.array([box for _, box, _ in found], np.float64).reshape(-1, 4),
        np.array([score for _, _, score in found]),
        np.array(labels or [0] * len(found), np.int64),
        np.array([regions.index(region) for region, _, _ in found], np.int64),
    )
    return merge(candidates, regions, SIZE, iou)


WHOLE, *TILES = TILED.regions(SIZE)
FIRST, SECOND, BELOW, ACROSS = ((x, y, x + 400, y + 400) for y in (0, 300) for x in (0, 300))


def seen(box: Box, region: Region) -> Box:
    """The part of a box that a region shows."""
    (x1, y1, x2, y2), (left, top, right, bottom) = box, region
    return max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)


def test_an_object_over_four_tiles_is_counted_once() -> None:
    """None of the tiles shows it whole: the parts are joined."""
    box = (250.0, 260.0, 480.0, 490.0)
    found = merged([(tile, seen(box, tile), 0.9 - 0.1 * n) for n, tile in enumerate((FIRST, SECOND, BELOW, ACROSS))])
    assert found.boxes.tolist() == [list(box)]
    assert found.members == [[0, 1, 2, 3]]


def test_a_part_loses_against_the_object_that_a_neighbor_shows_whole() -> None:
    """Whatever the scores are."""
    box = (380.0, 100.0, 412.0, 130.0)
    found = merged([(FIRST, seen(box, FIRST), 0.95), (SECOND, box, 0.6)])
    assert found.boxes.tolist() == [list(box)]
    assert found.members == [[1]]


def test_a_part_loses_against_the_object_of_the_whole_image() -> None:
    box = (100.0, 100.0, 900.0, 880.0)
    found = merged([(WHOLE, box, 0.7), *((tile, seen(box, tile), 0.8) for tile in TILES)])
    assert found.members == [[0]]


def test_a_doubtful_box_does_not_remove_what_is_certain() -> None:
    """Here the parts are of an object that the whole image did not show well enough."""
    box = (250.0, 250.0, 480.0, 480.0)
    parts = [(tile, seen(box, tile), 0.9) for tile in (FIRST, SECOND, BELOW, ACROSS)]
    found = merged([(WHOLE, (0.0, 0.0, 1000.0, 1000.0), 0.06), *parts])
    assert found.boxes.tolist() == [list(box), [0, 0, 1000, 1000]]


def test_the_finer_box_of_a_tile_takes_precedence() -> None:
    fine, coarse = (100.0, 100.0, 112.0, 112.0), (99.0, 99.0, 114.0, 114.0)
    found = merged([(WHOLE, coarse, 0.99), (FIRST, fine, 0.5)])
    assert found.boxes.tolist() == [list(fine)]


def test_two_objects_on_a_seam_stay_two() -> None:
    """Beside each other, both cut by the edges of the tiles."""
    boxes: list[Box] = [(250.0, 50.0, 450.0, 120.0), (250.0, 130.0, 450.0, 200.0)]
    found = merged([(tile, seen(box, tile), 0.9) for box in boxes for tile in (FIRST, SECOND)])
    assert sorted(found.boxes.tolist()) == [list(box) for box in boxes]


def test_classes_are_merged_on_their_own() -> None:
    box = (380.0, 100.0, 412.0, 130.0)
    found = merged([(FIRST, seen(box, FIRST), 0.9), (SECOND, box, 0.8)], labels=[0, 1])
    assert len(found.boxes) == 2


def test_views_of_the_whole_image_are_merged_by_nms() -> None:
    """Those of one view were merged by the detector, here by soft NMS, and are not compared again."""
    close: list[tuple[Region, Box, float]] = [(WHOLE, (0, 0, 100, 100), 0.9), (WHOLE, (20, 0, 120, 100), 0.5)]
    assert merged(close).members == [[0], [1]]
    candidates = Candidates(
        np.array([(0, 0, 100, 100), (20, 0, 120, 100), (1, 0, 101, 100), (21, 0, 121, 100), (300, 0, 400, 100)], float),
        np.array([0.9, 0.5, 0.8, 0.4, 0.3]), np.zeros(5, np.int64), np.array([0, 0, 1, 1, 1]),
    )  # fmt: skip
    assert merge(candidates, [WHOLE, WHOLE], SIZE, 0.5).members == [[0], [1], [4]]


@pytest.mark.parametrize("seed", range(4))
def test_without_tiles_it_is_class_wise_nms(seed: int) -> None:
    """Where no two boxes of a view overlap by more than the threshold, as after a detector's NMS; compared with torchvision's."""
    generator = torch.Generator().manual_seed(seed)
    corners, sides = (
        60 * torch.rand(3, 200, 2, generator=generator),
        10 + 20 * torch.rand(3, 200, 2, generator=generator),
    )
    boxes, scores = torch.cat([corners, corners + sides], 2), torch.rand(3, 200, generator=generator)
    labels = torch.randint(0, 2, (3, 200), generator=generator)
    kept = [batched_nms(boxes[view], scores[view], labels[view], 0.4) for view in range(3)]
    parts = [torch.cat([each[view][kept[view]] for view in range(3)]) for each in (boxes, scores, labels)]
    views = np.repeat(np.arange(3), [len(each) for each in kept])
    candidates = Candidates(parts[0].double().numpy(), parts[1].numpy(), parts[2].numpy(), views)
    found = merge(candidates, [WHOLE] * 3, SIZE, 0.4)
    expected = batched_nms(parts[0], parts[1], parts[2], 0.4)
    assert [members[0] for members in found.members] == expected.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_random_objects_are_counted_once(seed: int) -> None:
    """Objects of 10 to 500 pixels; a tile finds a part if it shows a fifth of it, the whole image what has 80 pixels, and boxes
    are off by up to 3 % of their sides.
    """
    random = np.random.default_rng(seed)
    true: list[Box] = []
    while len(true) < 15:
        width, height = np.exp(random.uniform(np.log(10), np.log(480), 2)).tolist()
        x, y = random.uniform(0, 1000 - width), random.uniform(0, 1000 - height)
        box = (x, y, x + width, y + height)
        if not any(
            min(box[2], other[2]) > max(x, other[0]) and min(box[3], other[3]) > max(y, other[1]) for other in true
        ):
            true.append(box)
    found: list[tuple[Region, Box, float]] = []
    for box in true:
        for region in (WHOLE, *TILES):
            part = np.array(seen(box, region))
            sides = part[2:] - part[:2]
            if sides.min() < (80 if region == WHOLE else 4) or sides.prod() < 0.2 * (box[2] - box[0]) * (
                box[3] - box[1]
            ):
                continue
            noisy = part + random.uniform(-0.03, 0.03, 4) * np.tile(sides, 2) * (part == np.array(box))
            x1, y1, x2, y2 = np.clip(noisy, region[:2] * 2, region[2:] * 2).tolist()
            found.append((region, (x1, y1, x2, y2), random.uniform(0.5, 1)))
    assert len(found) > 1.5 * len(true)
    result = merged(found)
    overlaps = box_iou(torch.from_numpy(result.boxes), torch.tensor(true, dtype=torch.float64)).numpy()
    assert sorted(overlaps.argmax(1).tolist()) == list(range(len(true)))
    assert overlaps.max(1).min() > 0.7


def test_nothing_found() -> None:
    empty = Candidates(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = merge(empty, [WHOLE, *TILES], SIZE, 0.5)
    assert found.boxes.shape == (0, 4)
    assert found.members == []
