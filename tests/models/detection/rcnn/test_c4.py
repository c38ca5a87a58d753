"""C4: a region that covers the image gives the features that the network pools from the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from resnets.models import zoo as networks
from resnets.models.build_network import build
from resnets.models.detection import zoo
from resnets.models.detection.prefixes import PREFIXES
from resnets.models.detection.rcnn.build import build_rcnn
from resnets.models.spec import ResNetSpec

PREFIX = "fasterrcnn_c4_"
SIDE = 128


def small_specs() -> dict[str, ResNetSpec]:
    """The networks with a map of stride 16 and stages after it, made narrow and shallow; each kind once."""
    specs: dict[ResNetSpec, str] = {}
    for name in zoo.list_models(f"{PREFIX}*"):
        spec = networks.find(name.removeprefix(PREFIX)).spec
        small = {"name": "", "num_classes": 2, "stem_channels": 8, "out_channels": (8, 16, 24, 32), "imgsz": SIDE}
        small |= {"num_blocks": (1, 2, 2, 2), "pool": "avg", "pool_window": 0, "groups": min(spec.groups, 4)}
        small |= {"mid_channels": (4, 4, 8, 8)} if spec.mid_channels else {}
        specs.setdefault(replace(spec, **small), spec.name)
    return {name: spec for spec, name in specs.items()}


@pytest.mark.parametrize(
    ("name", "spec"), small_specs().items(), ids=lambda value: value if isinstance(value, str) else ""
)
@torch.no_grad()
def test_the_whole_image_as_a_region_has_the_networks_features(name: str, spec: ResNetSpec) -> None:
    torch.manual_seed(0)
    net = build(spec).double().eval()
    detector = build_rcnn(replace(PREFIXES[PREFIX], pool_size=SIDE // 16), net.backbone(), 3).double().eval()
    x = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    maps = list(detector.dense(x)[:1])
    if maps[0].shape[-1] != SIDE // 16:
        pytest.skip("a stem without padding gives a smaller map, which a region of the whole image does not fit")
    whole = torch.tensor([[0.0, 0.0, SIDE, SIDE]], dtype=torch.float64)
    seen = []
    detector.roi_heads.box_predictor.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector._predict_boxes(maps, [whole, whole])
    assert torch.allclose(seen[0], net.forward_pooled(x), rtol=0, atol=1e-9)
