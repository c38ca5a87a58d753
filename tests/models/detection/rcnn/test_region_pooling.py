import torch
from torchvision.ops import roi_align

from resnets.models.detection.rcnn.region_pooling import RegionPooling, pool_by_products


def test_pooling_by_products_is_roi_align_with_its_gradient() -> None:
    torch.manual_seed(0)
    level_map = torch.randn(3, 5, 13, 17, dtype=torch.float64, requires_grad=True)
    corners = torch.rand(40, 2, dtype=torch.float64) * 160 - 40  # some lie outside
    boxes = torch.cat([corners, corners + torch.rand(40, 2, dtype=torch.float64) * 90], 1)
    boxes[:3] = torch.tensor([[0.0, 0, 0, 0], [135.9, 103.9, 136, 104], [-8, -8, 144, 112]])  # no area, a corner, all
    regions = torch.cat([torch.randint(0, 3, (40, 1)), boxes], 1)
    regions = regions[regions[:, 0] != 1]  # an image without regions
    expected = roi_align(level_map, regions, (7, 7), 1 / 8, sampling_ratio=2)
    pooled = pool_by_products(level_map, regions, 7, 1 / 8)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=1e-12)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((each * weights).sum(), level_map)[0] for each in (pooled, expected)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-12)


def test_no_regions_are_pooled_to_none() -> None:
    level_map = torch.randn(1, 4, 5, 5, requires_grad=True)
    pooled = pool_by_products(level_map, torch.zeros(0, 5), 7, 0.25)
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()


def test_autocast_changes_no_pooled_value() -> None:
    """In a training in bf16 the maps are bf16, and the boxes, which decide the precision, are fp32."""
    torch.manual_seed(0)
    maps = [torch.randn(1, 4, side, side, requires_grad=True) for side in (16, 8)]
    pool = RegionPooling((4, 8), 3, aligned=False)
    boxes = [torch.tensor([[3.0, 5.0, 20.0, 30.0], [0.0, 0.0, 64.0, 64.0]])]
    expected = pool([each.bfloat16().float() for each in maps], boxes)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pool([each.bfloat16() for each in maps], boxes)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, expected, rtol=0, atol=0)
