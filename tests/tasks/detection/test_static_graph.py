"""The dense part of each kind of detector by each backend: the objects are those of the detector itself.

Each kind has an image whose sides no stride divides, and one kind has all sizes with torch; OpenVINO computes this kind here, and
YOLOv3 as an exported file. With RESNETS_EVERY_SIZE (`make soak`) each kind has all sizes with both; OpenVINO converts the network
anew for each.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.in_soak import IN_SOAK
from torch import Tensor, nn
from torchvision.ops import box_iou

from resnets.inference import backends
from resnets.inference.import_openvino import has_openvino
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.tasks.detection.static_graph import static_graph

KINDS = ["fasterrcnn_light", "fasterrcnn_c4", "fasterrcnn_dc5", "maskrcnn_light", "yolov3_light"]
SIZES = [(50, 97), (64, 64), (96, 33)]
NEEDED = pytest.mark.skipif(not has_openvino(), reason="needs openvino")


def sizes(backend: str, kind: str) -> list[tuple[int, int]]:
    return SIZES if IN_SOAK or (backend, kind) == ("torch", KINDS[0]) else SIZES[:1]


CASES = [
    pytest.param(backend, kind, size, marks=[NEEDED] if backend == "openvino" else [])
    for backend in ("torch", "openvino")
    for kind in (KINDS if IN_SOAK or backend == "torch" else KINDS[:1])
    for size in sizes(backend, kind)
]


@functools.cache
def detector(kind: str, score_floor: float) -> nn.Module:
    """Of little width and depth; its outputs are enlarged, since fresh ones are almost equal everywhere."""
    settings, spec = zoo.get(f"{kind}_resnet18")
    narrow = {"neck_channels": 16, "box_head_dim": 16, "mask_channels": 16, "proposals": 30, "score_floor": score_floor}
    spec = replace(spec, stem_channels=8, num_blocks=(1, 1, 1, 1), out_channels=(8, 16, 16, 16))
    torch.manual_seed(0)
    narrow = {key: value for key, value in narrow.items() if key not in settings.without_effect}
    model = build_detector(replace(settings, **narrow), spec, 3)
    for name, parameter in model.named_parameters():
        if name.endswith(("cls_logits.weight", "cls_score.weight", "prediction.weight")):
            parameter.data *= 30
        if name.endswith("prediction.bias"):  # by which a fresh YOLOv3 finds nothing
            parameter.data.zero_()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # which a backend folds
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal objects; in any order, since that of equal scores is a matter of rounding."""
    assert found.keys() == expected.keys()
    assert len(found["scores"]) == len(expected["scores"])
    if not len(found["scores"]):
        return
    gaps = (found["scores"][:, None] - expected["scores"]).abs()
    gaps += (1 - box_iou(found["boxes"], expected["boxes"])) + (found["labels"][:, None] != expected["labels"])
    nearest = gaps.argmin(1)
    assert gaps.amin(1).max() < 1e-3
    assert nearest.unique().numel() == len(nearest)
    if "masks" in found:
        torch.testing.assert_close(found["masks"], expected["masks"][nearest], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("backend", "kind", "size"), CASES)
@torch.no_grad()
def test_any_number_of_images_of_any_size(
    backend: str, kind: str, size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNETS_HOME", str(tmp_path))
    torch.manual_seed(1)
    images = torch.randn(4, 3, *size)
    some, none = detector(kind, 0.05), detector(kind, 1.0)  # no score is above 1
    built = backends.build(backend, static_graph(some), "fp32", (2, 3, *size))
    for model, counts in ((some, (1, 2, 3, 4)), (none, (3,))):
        built.finish = static_graph(model).finish
        for count in counts:
            found, expected = built(images[:count]).objects, model(images[:count]).objects
            assert len(found) == count
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)
            assert any(len(each["scores"]) for each in expected) == (model is some)
