"""Soft NMS against the algorithm of the paper, restated in plain Python; torchvision's NMS as the default."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from resnets.errors import UserError
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.suppression import suppress, with_method

FLOOR, IOU = 0.05, 0.4


def scene(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes of three classes around a few places, so that many overlap; float64."""
    generator = torch.Generator().manual_seed(seed)
    places = 60 * torch.rand(6, 2, generator=generator, dtype=torch.float64)
    corners = places[torch.randint(0, 6, (count,), generator=generator)]
    corners = corners + 4 * torch.randn(count, 2, generator=generator, dtype=torch.float64)
    sides = 15 + 10 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    scores = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.cat([corners, corners + sides], 1), scores, torch.randint(0, 3, (count,), generator=generator)


def overlap(a: list[float], b: list[float]) -> float:
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def soft_nms(boxes: Tensor, scores: Tensor, linear: bool) -> dict[int, float]:
    """Figure 2 of Bodla et al. 2017 for the boxes of one class: the final score of each box, by its index."""
    rest = dict(enumerate(scores.tolist()))
    final = {}
    while rest:
        best = max(rest, key=lambda index: rest[index])
        final[best] = rest.pop(best)
        for index in rest:
            shared = overlap(boxes[best].tolist(), boxes[index].tolist())
            if linear:
                rest[index] *= 1 - shared if shared >= IOU else 1
            else:
                rest[index] *= math.exp(-(shared**2) / 0.5)
    return final


@pytest.mark.parametrize("method", ["soft", "soft-linear"])
@pytest.mark.parametrize(("count", "most"), [(0, 100), (1, 100), (60, 100), (60, 7)])
def test_soft_nms_is_that_of_the_paper(method: str, count: int, most: int) -> None:
    boxes, scores, labels = scene(count, seed=count)
    kept, found = suppress(boxes, scores, labels, method=method, iou=IOU, score_floor=FLOOR, max_objects=most)
    expected = dict[int, float]()
    for label in range(3):
        (own,) = torch.where(labels == label)
        final = soft_nms(boxes[own], scores[own], method == "soft-linear")
        expected |= {int(own[index]): score for index, score in final.items() if score > FLOOR}
    order = sorted(expected, key=lambda index: -expected[index])[:most]
    assert kept.tolist() == order
    assert found.tolist() == pytest.approx([expected[index] for index in order], rel=1e-12)
    if count == 60:
        assert len(order) == most if most < count else 20 < len(order) < count
    if count == 60 < most:
        assert (found < 0.9 * scores[kept]).sum() > 10, "few scores were changed"


def test_the_default_is_torchvisions_nms() -> None:
    boxes, scores, labels = scene(60, seed=1)
    kept, found = suppress(boxes, scores, labels, method="hard", iou=IOU, score_floor=FLOOR, max_objects=10)
    assert torch.equal(kept, batched_nms(boxes, scores, labels, IOU)[:10])
    assert torch.equal(found, scores[kept])


@pytest.mark.parametrize("name", ["maskrcnn_light_tiny", "yolov3_light_tiny"])
@torch.no_grad()
def test_a_detector_has_its_method_beside_another_with_the_same_tensors(name: str) -> None:
    """Soft NMS keeps what NMS drops; the detector that it was made from is not changed."""
    torch.manual_seed(0)
    settings, spec = zoo.get(name)
    detector = build_detector(replace(settings, neck_channels=8, score_floor=0.0, nms_iou=0.2), spec, 2).eval()
    soft = with_method(detector, "soft")
    image = torch.randn(1, 3, 64, 64)
    before, found = detector(image).objects[0], soft(image).objects[0]
    assert len(found["scores"]) > len(before["scores"]) > 0
    assert (found["scores"].diff() <= 0).all()
    assert len({len(each) for each in found.values()}) == 1
    for key, each in detector(image).objects[0].items():
        assert torch.equal(each, before[key])
    assert {id(tensor) for tensor in soft.parameters()} == {id(tensor) for tensor in detector.parameters()}


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"`nms` is one of hard, soft, soft-linear; received 'sof'. Did you mean 'soft'"
    ):
        with_method(torch.nn.Identity(), "sof")
