"""DetectorSettings refuse what does not fit."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

import pytest

from resnets.errors import UserError
from resnets.models.detection.settings import DetectorSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "fastercnn"}, "Did you mean 'fasterrcnn'"),
        ({"architecture": "maskrcnn", "layout": "c4"}, "needs layout='fpn'"),
        ({"architecture": "yolov3", "layout": "dc5"}, "layout='dc5'"),
        ({"box_loss": "giou"}, "box_loss='giou'"),
        ({"neck_channels": 0}, "at least 1; received 0"),
        ({"neck_channels": 2.5}, "whole number"),
        ({"nms_iou": 1.5}, "at most 1"),
        ({"head_norm": 1}, "of type bool"),
        ({"anchor_sizes": (32.0, -1.0)}, "positive"),
        ({"anchor_sizes": (32.0, 64.0)}, "five values"),
        ({"layout": "c4", "anchor_sizes": ()}, "at least one value"),
        ({"anchors": (10.0, 20.0)}, "three levels"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DetectorSettings(**changes)


def test_lists_become_tuples_and_every_field_is_described() -> None:
    settings = DetectorSettings(**tomllib.loads("anchor_ratios = [1.0]\nbox_head_convs = 0"))
    assert settings.anchor_ratios == (1.0,)
    for field in dataclasses.fields(DetectorSettings):
        assert field.name in (DetectorSettings.__doc__ or ""), field.name
