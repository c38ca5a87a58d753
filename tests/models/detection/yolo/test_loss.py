"""The loss of YOLOv3: its gradients are the deltas of darknet, written here as loops after `src/yolo_layer.c`."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou

from resnets.models.detection.yolo.anchors import COCO_ANCHORS
from resnets.models.detection.yolo.grid import decode, make_grid
from resnets.models.detection.yolo.loss import GIOU_WEIGHT, assign, image_losses

NUM_CLASSES = 3
STRIDES = (8, 16, 32)
HEIGHT, WIDTH = 64, 96
ANCHORS = [(width / 4, height / 4) for width, height in COCO_ANCHORS]  # 2.5 x 3.25 to 93 x 81 pixels
BIG, SMALL = (20.0, 10.0, 90.0, 60.0), (33.0, 17.0, 36.0, 20.0)

# Boxes and labels of an image of 64 x 96 pixels.
CASES: dict[str, list[tuple[tuple[float, float, float, float], int]]] = {
    "no object": [],
    "one object": [(BIG, 1)],
    "all scales": [(BIG, 0), ((40.0, 20.0, 60.0, 45.0), 1), (SMALL, 2)],
    "two objects in a cell with one anchor": [((20.0, 10.0, 90.0, 60.0), 1), ((22.0, 12.0, 92.0, 58.0), 2)],
    "two objects in a cell of one class": [((20.0, 10.0, 90.0, 60.0), 1), ((22.0, 12.0, 92.0, 58.0), 1)],
    "three objects in a cell, the first class last": [(SMALL, 2), (SMALL, 1), (SMALL, 0)],
    "two objects in a cell with different anchors": [((40.0, 20.0, 48.0, 23.0), 1), ((42.0, 17.0, 46.0, 25.0), 2)],
    "upper left cell": [((0.0, 0.0, 4.0, 5.0), 0)],
    "lower right cell": [((90.0, 60.0, 96.0, 64.0), 0)],
    "center on the border of two cells": [((12.0, 28.0, 20.0, 36.0), 2)],
    "the whole image": [((0.0, 0.0, 96.0, 64.0), 1)],
    "thin object": [((10.0, 30.0, 80.0, 31.5), 2)],
    "many": [((3.0 * i, 2.0 * i, 5.0 * i + 4, 4.0 * i + 3), i % 3) for i in range(15)],
}


def image_grid():
    shapes = [(HEIGHT // stride, WIDTH // stride) for stride in STRIDES]
    return make_grid(shapes, STRIDES, torch.tensor(ANCHORS, dtype=torch.float64).view(3, 3, 2))


def case_tensors(case: str) -> tuple[Tensor, Tensor]:
    boxes = torch.tensor([box for box, _ in CASES[case]], dtype=torch.float64).view(-1, 4)
    return boxes, torch.tensor([label for _, label in CASES[case]], dtype=torch.int64)


def random_raw(boxes: Tensor, labels: Tensor) -> Tensor:
    """Random numbers of all positions; those at half of the objects, and beside them, are nearly right (ignore zone)."""
    grid = image_grid()
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn((len(grid.corners), 5 + NUM_CLASSES), generator=generator, dtype=torch.float64)
    raw[:, 2:4] *= 0.3
    for box in boxes[::2]:
        center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        offset = (center - grid.corners) / grid.strides
        near = ((offset > 0.05) & (offset < 0.95)).all(1)
        raw[near, :2] = offset[near].logit()
        raw[near, 2:4] = (size / grid.anchors[near]).log() + 0.02
    return raw


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Of two boxes by center and size."""
    inner = 1.0
    for axis in range(2):
        low = max(a[axis] - a[2 + axis] / 2, b[axis] - b[2 + axis] / 2)
        high = min(a[axis] + a[2 + axis] / 2, b[axis] + b[2 + axis] / 2)
        inner *= max(0.0, high - low)
    return inner / (a[2] * a[3] + b[2] * b[3] - inner)


def darknet_deltas(raw: np.ndarray, boxes: np.ndarray, labels: np.ndarray, ignore: float) -> np.ndarray:
    """`forward_yolo_layer` for the three layers, in the unit of the image; the delta is the negative gradient."""
    sigmoid = 1 / (1 + np.exp(-raw))
    delta = np.zeros_like(raw)
    truths = [
        ((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
        for x1, y1, x2, y2 in boxes
    ]
    start = 0
    for layer, stride in enumerate(STRIDES):
        rows, columns = HEIGHT // stride, WIDTH // stride
        mask = [3 * layer, 3 * layer + 1, 3 * layer + 2]

        def at(row: int, column: int, anchor: int, start: int = start, columns: int = columns) -> int:
            return start + (row * columns + column) * 3 + anchor

        for row in range(rows):
            for column in range(columns):
                for n in range(3):
                    index = at(row, column, n)
                    box = np.array(
                        [
                            (column + sigmoid[index, 0]) / columns,
                            (row + sigmoid[index, 1]) / rows,
                            math.exp(raw[index, 2]) * ANCHORS[mask[n]][0] / WIDTH,
                            math.exp(raw[index, 3]) * ANCHORS[mask[n]][1] / HEIGHT,
                        ]
                    )
                    best = max((iou(box, np.array(truth)) for truth in truths), default=0.0)
                    delta[index, 4] = 0.0 if best > ignore else -sigmoid[index, 4]
        for truth, label in zip(truths, labels, strict=True):
            column, row = int(truth[0] * columns), int(truth[1] * rows)
            shapes = [np.array([0, 0, width / WIDTH, height / HEIGHT]) for width, height in ANCHORS]
            best_n = int(np.argmax([iou(shape, np.array([0, 0, truth[2], truth[3]])) for shape in shapes]))
            if best_n not in mask:
                continue
            index = at(row, column, mask.index(best_n))
            scale = 2 - truth[2] * truth[3]
            delta[index, 0] = scale * (truth[0] * columns - column - sigmoid[index, 0])
            delta[index, 1] = scale * (truth[1] * rows - row - sigmoid[index, 1])
            delta[index, 2] = scale * (math.log(truth[2] * WIDTH / ANCHORS[best_n][0]) - raw[index, 2])
            delta[index, 3] = scale * (math.log(truth[3] * HEIGHT / ANCHORS[best_n][1]) - raw[index, 3])
            delta[index, 4] = 1 - sigmoid[index, 4]
            if delta[index, 5]:
                delta[index, 5 + label] = 1 - sigmoid[index, 5 + label]
            else:
                for k in range(NUM_CLASSES):
                    delta[index, 5 + k] = (k == label) - sigmoid[index, 5 + k]
        start += rows * columns * 3
    return delta


def losses_of(
    raw: Tensor, boxes: Tensor, labels: Tensor, box_loss: str = "paper", ignore: float = 0.7
) -> dict[str, Tensor]:
    size = torch.tensor([HEIGHT, WIDTH], dtype=torch.float64)
    return image_losses(raw, boxes, labels, image_grid(), size, ignore_iou=ignore, box_loss=box_loss)


@pytest.mark.parametrize("ignore", [0.5, 0.7])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_deltas_of_darknet(case, ignore):
    boxes, labels = case_tensors(case)
    raw = random_raw(boxes, labels).requires_grad_()
    total = sum(losses_of(raw, boxes, labels, ignore=ignore).values())
    assert isinstance(total, Tensor)
    total.backward()
    expected = darknet_deltas(raw.detach().numpy(), boxes.numpy(), labels.numpy(), ignore)
    assert raw.grad is not None
    np.testing.assert_allclose(-raw.grad.numpy(), expected, rtol=1e-9, atol=1e-12)
    if case == "one object":  # the case has positions in the ignore zone
        assert (expected[:, 4] == 0).sum() > 0


@pytest.mark.parametrize("case", CASES)
def test_giou_is_torchvisions(case):
    boxes, labels = case_tensors(case)
    raw, grid = random_raw(boxes, labels), image_grid()
    found = assign(boxes, grid)
    at = found.positions
    predicted = decode(raw[at], grid.corners[at], grid.strides[at], grid.anchors[at])
    giou = generalized_box_iou(predicted, boxes).diagonal()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (HEIGHT * WIDTH)
    expected = (GIOU_WEIGHT * (1 - giou) * (2 - area))[found.is_last].sum()
    losses = losses_of(raw, boxes, labels, "giou")
    torch.testing.assert_close(losses["box"], expected, rtol=1e-6, atol=1e-9)
    paper = losses_of(raw, boxes, labels)
    assert all(torch.equal(losses[name], paper[name]) for name in ("objectness", "class"))


@pytest.mark.parametrize("box_loss", ["paper", "giou"])
def test_every_term_keeps_its_graph_without_objects(box_loss):
    boxes, labels = case_tensors("no object")
    raw = random_raw(boxes, labels).requires_grad_()
    losses = losses_of(raw, boxes, labels, box_loss)
    assert all(loss.requires_grad for loss in losses.values())
    assert losses["box"] == losses["class"] == 0
    losses["box"].backward()
    assert raw.grad is not None
    assert not raw.grad.any()


@pytest.mark.parametrize("box_loss", ["paper", "giou"])
def test_an_empty_box_and_a_diverged_network_give_finite_losses(box_loss):
    boxes = torch.tensor([[10.0, 10, 10, 10]], dtype=torch.float64)
    raw = torch.full((len(image_grid().corners), 5 + NUM_CLASSES), 500.0, dtype=torch.float64)
    losses = losses_of(raw, boxes, torch.tensor([0]), box_loss)
    assert all(loss.isfinite() for loss in losses.values()), losses


def test_positions_in_the_padding_have_no_loss():
    boxes, labels = case_tensors("upper left cell")
    raw, grid = random_raw(boxes, labels).requires_grad_(), image_grid()
    size = torch.tensor([24.0, 40.0], dtype=torch.float64)
    losses = image_losses(raw, boxes, labels, grid, size, ignore_iou=1.0, box_loss="paper")
    losses["objectness"].backward()
    assert raw.grad is not None
    outside = (grid.corners[:, 0] >= 40) | (grid.corners[:, 1] >= 24)
    assert not raw.grad[outside].any()
    assert raw.grad[~outside, 4].all()
