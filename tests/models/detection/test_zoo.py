"""The names of the detectors, and every network of the zoo as the backbone of each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.in_soak import IN_SOAK

from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.build_network import build
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.prefixes import PREFIXES, TORCHVISION
from resnets.models.detection.rcnn.build import build_rcnn

# In this order, since the dilation of DC5 changes the network that they share here.
LAYOUTS = ("fasterrcnn_", "maskrcnn_", "fasterrcnn_c4_", "fasterrcnn_dc5_")


def test_every_network_of_the_zoo_is_a_backbone_of_every_layout() -> None:
    """With two blocks a stage, which the others repeat; with RESNETS_EVERY_SIZE=1 (`make soak`) also those that differ in
    nothing but their depth."""
    built = set()
    for name, entry in networks.entries().items():
        shallow = replace(entry.spec, num_blocks=tuple(min(2, number) for number in entry.spec.num_blocks))
        if (kind := replace(shallow, name="")) in built and not IN_SOAK:
            continue
        built.add(kind)
        with torch.device("meta"):
            backbone = build(shallow).backbone()
            tensors = {f"backbone.{key}" for key in backbone.state_dict()}
            for prefix in LAYOUTS:
                if not zoo.list_models(f"{prefix}{name}"):
                    assert prefix in LAYOUTS[2:]
                    with pytest.raises(UserError, match="stride"):
                        build_rcnn(PREFIXES[prefix], backbone, 3)
                    continue
                own = build_rcnn(PREFIXES[prefix], backbone, 3).state_dict()
                assert tensors == {key for key in own if key.startswith("backbone.")}
                assert own["roi_heads.box_predictor.cls_score.weight"].shape[0] == 4
    assert len(built) > 30
    assert sum(bool(zoo.list_models(f"fasterrcnn_c4_{name}")) for name in networks.entries()) == 43


# One network of each pattern of strides, with pre-activation, a highway network and attention, and each layout.
KINDS = (
    "fasterrcnn_light_resnet18", "maskrcnn_light_keras_resnet50v2", "maskrcnn_light_cifar_resnet20",
    "fasterrcnn_light_notes_basic_resnet", "maskrcnn_light_tiny",
    "fasterrcnn_light_cifar_highway20", "fasterrcnn_light_se_resnet18",
    "fasterrcnn_light_tutorial_resnet50", "fasterrcnn_c4_resnet18", "fasterrcnn_dc5_resnet18",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_it_learns_and_finds(name: str) -> None:
    torch.manual_seed(0)
    settings, backbone = zoo.get(name)
    if len(backbone.num_blocks) == 4:
        mid = (8, 8, 8, 8) if backbone.mid_channels else ()
        narrow = {"stem_channels": 16, "out_channels": (16, 24, 32, 48), "mid_channels": mid}
        backbone = replace(backbone, num_blocks=(1, 1, 1, 2), **narrow)
    small = {"neck_channels": 32, "box_head_dim": 32, "mask_channels": 32}
    small |= {"candidates": 50, "proposals": 50, "train_candidates": 50, "proposal_samples": 16, "score_floor": 0.0}
    small = {key: value for key, value in small.items() if key not in settings.without_effect}
    detector = build_detector(replace(settings, **small), backbone, 3)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 65, 90)
    boxes = torch.tensor([[5.0, 6, 50, 60]])
    masks = torch.zeros(1, 65, 90, dtype=torch.bool)
    masks[:, 10:50, 10:40] = True
    target = {"boxes": boxes, "labels": torch.tensor([2]), "masks": masks}
    losses = detector(x, [target, target], [1, 2]).losses
    sum(loss.sum() for loss in losses.values()).backward()
    assert all(torch.isfinite(loss).all() for loss in losses.values())
    assert [key for key, parameter in detector.named_parameters() if parameter.grad is None] == []
    with torch.no_grad():
        found = detector.eval()(x).objects
    assert [len(each["labels"]) > 0 for each in found] == [True, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fasterrcnn_resnet19", "There is no detector 'fasterrcnn_resnet19'. Did you mean 'fasterrcnn_resnet1"),
        ("fastercnn_resnet18", "Did you mean 'fasterrcnn_resnet18'"),
        ("fasterrcnn_c4_cifar_resnet20", "use 'fasterrcnn_cifar_resnet20'"),
        ("xyz", "There is no network 'xyz'. `resnets models` lists"),
    ],
)
def test_an_unknown_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        zoo.get(name)


def test_names_and_patterns() -> None:
    names = zoo.list_models()
    assert len(names) == len(set(names))
    assert {"fasterrcnn_resnet18", "maskrcnn_light_tiny", "yolov3_resnet34", *TORCHVISION} <= set(names)
    assert all(zoo.is_detector(name) for name in names)
    assert not zoo.is_detector("resnet50")
    assert zoo.get("fasterrcnn_resnet50_fpn") == zoo.get("fasterrcnn_resnet50")
    assert "fasterrcnn_c4_tiny" not in names
