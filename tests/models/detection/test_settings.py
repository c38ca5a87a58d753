"""DetectorSettings refuse what does not fit."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
from typing import Any

import pytest
import torch

from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.settings import DetectorSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "fastercnn"}, "Did you mean 'fasterrcnn'"),
        ({"architecture": "maskrcnn", "layout": "c4"}, "needs layout='fpn'"),
        ({"architecture": "yolov3", "layout": "dc5"}, "layout has no effect on architecture='yolov3'; received 'dc5'"),
        ({"architecture": "yolov3", "rpn_convs": 5}, "rpn_convs has no effect"),
        (
            {"box_loss": "giou"},
            "box_loss has no effect on architecture='fasterrcnn' with layout='fpn'; received 'giou'",
        ),
        ({"anchors": (4.0,) * 6}, "anchors has no effect"),
        (
            {"layout": "dc5", "head_norm": True},
            "head_norm has no effect on architecture='fasterrcnn' with layout='dc5'",
        ),
        ({"layout": "dc5", "box_head_convs": 1}, "box_head_convs has no effect"),
        ({"layout": "c4", "neck_channels": 64}, "neck_channels has no effect"),
        ({"layout": "c4", "box_head_dim": 64}, "box_head_dim has no effect"),
        ({"neck_channels": 0}, "at least 1; received 0"),
        ({"neck_channels": 2.5}, "whole number"),
        ({"nms_iou": 1.5}, "at most 1"),
        ({"head_norm": 1}, "of type bool"),
        ({"anchor_sizes": (32.0, -1.0)}, "positive"),
        ({"anchor_sizes": (32.0, 64.0)}, "five values"),
        ({"layout": "c4", "anchor_sizes": ()}, "at least one value"),
        ({"architecture": "yolov3", "anchors": (10.0, 20.0)}, "three levels"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DetectorSettings(**changes)


def test_the_effect_of_each_setting_is_as_the_check_says() -> None:
    """What is refused changes no shape of the network, what is accepted does: of those settings that are about shapes."""
    values = {"neck_channels": 16, "head_norm": True, "rpn_convs": 3, "box_head_convs": 1, "box_head_dim": 24}
    backbone = zoo.get_spec("resnet18")
    for architecture, layout in (("fasterrcnn", "fpn"), ("fasterrcnn", "c4"), ("maskrcnn", "dc5"), ("yolov3", "fpn")):
        settings = DetectorSettings(architecture=architecture, layout=layout)
        for key, value in values.items():
            changed = copy.copy(settings)
            object.__setattr__(changed, key, value)  # unchecked
            with torch.device("meta"):
                shapes = [
                    {name: tensor.shape for name, tensor in build_detector(each, backbone, 2).state_dict().items()}
                    for each in (settings, changed)
                ]
            try:
                changed.check_together()
            except UserError:
                assert shapes[0] == shapes[1], (architecture, layout, key)
            else:
                assert shapes[0] != shapes[1], (architecture, layout, key)


def test_lists_become_tuples_and_every_field_is_described() -> None:
    settings = DetectorSettings(**tomllib.loads("anchor_ratios = [1.0]\nbox_head_convs = 0"))
    assert settings.anchor_ratios == (1.0,)
    for field in dataclasses.fields(DetectorSettings):
        assert field.name in (DetectorSettings.__doc__ or ""), field.name
