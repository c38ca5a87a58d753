"""Anchors from the sizes of boxes."""

import pytest
import torch
from torchvision.ops import box_iou

from resnets.models.detection.yolo.anchors import COCO_ANCHORS, fit_anchors, kmeans, shape_iou


def clustered(centers: torch.Tensor, per_center: int = 40, spread: float = 0.03) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(len(centers), per_center, 2, generator=generator, dtype=torch.float64) * spread
    return (centers.double()[:, None] * noise.exp()).reshape(-1, 2)


def test_shape_iou_is_the_iou_of_boxes_with_one_corner():
    sizes, others = torch.rand(7, 2, dtype=torch.float64) * 50 + 1, torch.rand(5, 2, dtype=torch.float64) * 50 + 1
    boxes = [torch.cat([torch.zeros_like(each), each], 1) for each in (sizes, others)]
    torch.testing.assert_close(shape_iou(sizes, others), box_iou(*boxes))


def test_kmeans_finds_the_clusters():
    centers = torch.tensor(
        [(8, 8), (10, 40), (40, 12), (35, 35), (30, 120), (120, 30), (100, 100), (90, 300), (300, 280)]
    )
    found = kmeans(clustered(centers), 9)
    torch.testing.assert_close(found, centers.double(), rtol=0.03, atol=0)  # in the order of the area


def test_other_boxes_get_other_anchors():
    """Wide boxes, such as lines of text, which COCO's anchors do not fit."""
    sizes = clustered(torch.tensor([(40 + 30 * i, 8 + i) for i in range(9)]))
    fit = fit_anchors(sizes, 416)
    coco = shape_iou(sizes, torch.tensor(COCO_ANCHORS, dtype=torch.float64)).amax(1)
    assert fit.from_boxes
    assert fit.mean_best_iou > 0.9 > coco.mean() + 0.3
    assert fit.recall == 1
    assert len(fit.anchors) == 9
    areas = [width * height for width, height in fit.anchors]
    assert areas == sorted(areas)


@pytest.mark.parametrize("imgsz", [208, 416, 608])
def test_cocos_anchors_are_kept_where_they_fit(imgsz):
    scaled = torch.tensor(COCO_ANCHORS) * imgsz / 416
    fit = fit_anchors(clustered(scaled, spread=0.01), imgsz)
    assert not fit.from_boxes
    assert fit.mean_best_iou > 0.97
    torch.testing.assert_close(torch.tensor(fit.anchors), scaled, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    "sizes", [[], [(20.0, 30.0)], [(20.0, 30.0)] * 50, [(0.0, 10.0)], [(5.0, 5.0), (300.0, 2.0), (0.0, 0.0)]]
)
def test_few_and_empty_boxes(sizes):
    fit = fit_anchors(torch.tensor(sizes, dtype=torch.float64).view(-1, 2), 416)
    assert len(fit.anchors) == 9
    assert all(side > 0 for anchor in fit.anchors for side in anchor)
    filled = [size for size in sizes if min(size) > 0]
    assert fit.mean_best_iou == pytest.approx(1.0 if filled else 0.0)


def test_the_result_is_a_function_of_boxes_and_seed():
    sizes = torch.rand(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3 * 80 + 4
    first = fit_anchors(sizes, 416, seed=1)
    torch.manual_seed(99)
    assert fit_anchors(sizes, 416, seed=1) == first
