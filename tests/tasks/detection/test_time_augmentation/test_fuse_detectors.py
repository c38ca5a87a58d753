"""Weighted boxes fusion against its description in the paper, restated in plain Python."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from resnets.errors import UserError
from resnets.tasks.detection.detections import Detections
from resnets.tasks.detection.test_time_augmentation.fuse_detectors import SAME_OBJECT, fuse, label_maps
from resnets.tasks.trained_model import TrainedModel


def found(rows: list[tuple[float, ...]]) -> Detections:
    """Objects from rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def overlap(a: list[float], b: list[float]) -> float:
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def restated(models: list[Detections]) -> list[tuple[float, list[float], int]]:
    """The seven steps of section 3.1: score, box and label of each object, by descending score."""
    rows = [
        (float(score), list(map(float, box)), int(label))
        for each in models
        for box, score, label in zip(each.boxes, each.scores, each.labels, strict=True)
    ]
    fused = []
    for label in {row[2] for row in rows}:
        clusters: list[list[tuple[float, list[float], int]]] = []
        boxes: list[list[float]] = []
        for row in sorted((row for row in rows if row[2] == label), key=lambda row: -row[0]):
            matches = [(overlap(row[1], box), position) for position, box in enumerate(boxes)]
            best, position = max(matches, default=(0.0, -1))
            if best > SAME_OBJECT:
                clusters[position].append(row)
            else:
                position = len(clusters)
                clusters.append([row])
                boxes.append([])
            total = sum(score for score, _, _ in clusters[position])
            boxes[position] = [sum(score * box[k] for score, box, _ in clusters[position]) / total for k in range(4)]
        for cluster, box in zip(clusters, boxes, strict=True):
            mean = sum(score for score, _, _ in cluster) / len(cluster)
            fused.append((mean * min(len(cluster), len(models)) / len(models), box, label))
    return sorted(fused, key=lambda row: -row[0])


@pytest.mark.parametrize("seed", range(4))
def test_it_is_weighted_boxes_fusion(seed: int) -> None:
    """Three detectors that find most of 12 objects of two classes, some of them twice, each with errors of its own."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 150, (12, 2))
    true = np.hstack([corners, corners + random.uniform(20, 60, (12, 2))])
    models = []
    for _ in range(3):
        chosen = np.concatenate([np.flatnonzero(random.random(12) < 0.8), random.integers(0, 12, 3)])
        boxes = true[chosen] + random.normal(0, 3, (len(chosen), 4))
        models.append(
            Detections(boxes.astype(np.float32), random.uniform(0.1, 1, len(chosen)).astype(np.float32), chosen % 2)
        )
    fused, expected = fuse(models), restated(models)
    assert len(expected) < sum(len(each.scores) for each in models)
    assert fused.labels.tolist() == [label for _, _, label in expected]
    np.testing.assert_allclose(fused.scores, [score for score, _, _ in expected], rtol=1e-5)
    np.testing.assert_allclose(fused.boxes, [box for _, box, _ in expected], rtol=1e-5)


def test_what_one_of_two_finds_has_half_its_score() -> None:
    fused = fuse([found([(0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 1)]), found([(0, 0, 10, 12, 0.3, 0)])])
    assert fused.boxes.tolist() == [[0, 0, 10, pytest.approx(10.5)], [50, 50, 60, 60]]
    assert fused.scores.tolist() == pytest.approx([0.6, 0.4])
    assert fused.labels.tolist() == [0, 1]
    assert fuse([found([]), found([])]).boxes.shape == (0, 4)


def test_a_mask_is_that_of_the_most_certain_box() -> None:
    one, other = found([(0, 0, 10, 10, 0.4, 0)]), found([(0, 0, 10, 11, 0.7, 0)])
    masks = [{"size": [20, 20], "counts": name} for name in (b"one", b"other")]
    fused = fuse([replace(each, masks=[mask]) for each, mask in zip((one, other), masks, strict=True)])
    assert fused.masks == [masks[1]]
    assert fuse([one, other]).masks is None


def test_classes_are_matched_by_name(make_finder: Callable[..., TrainedModel]) -> None:
    """Whatever their order is; other classes, and classes without names, are refused."""
    first, second = make_finder(("a", "b", "c")), make_finder(("c", "a", "b"))
    assert [each.tolist() for each in label_maps([first, second])] == [[0, 1, 2], [2, 0, 1]]
    with pytest.raises(UserError, match="does not have 'c' and also has 'd'"):
        label_maps([first, make_finder(("a", "b", "d"))])
    second.has_class_names = False
    with pytest.raises(UserError, match="has no names of its classes"):
        label_maps([first, second])
