import torch

from resnets.models.detection.rcnn.anchors import anchors, inside_image

STRIDES = (4, 8, 16, 32)
SIZES, RATIOS = [(8.0,), (16.0,), (32.0,), (64.0,)], (0.5, 1.0, 2.0)


def grids(height: int, width: int) -> list[tuple[int, int]]:
    return [(height // stride, width // stride) for stride in STRIDES]


def test_an_image_has_the_anchors_that_it_has_without_larger_images() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    batch = anchors(grids(96, 160), STRIDES, SIZES, RATIOS, like)
    for size, padded in (((33, 64), (64, 64)), ((96, 129), (96, 160))):
        inside = inside_image(grids(96, 160), STRIDES, [3] * 4, size, like.device)
        torch.testing.assert_close(batch[inside], anchors(grids(*padded), STRIDES, SIZES, RATIOS, like), rtol=0, atol=0)
