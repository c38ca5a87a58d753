"""The layers of detectors: all parameters are in a row, and the multiply-adds are those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import resnets
from resnets.errors import UserError

NAMES = ("fasterrcnn_light_tiny", "maskrcnn_light_tiny", "fasterrcnn_c4_resnet18", "fasterrcnn_resnet50_fpn_v2",
         "yolov3_light_tiny", "yolov3_resnet34_a")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_in_a_row(name: str) -> None:
    summary = resnets.summary(name, imgsz=(64, 96), num_classes=3)
    assert sum(row.parameters for row in summary.layers) == summary.totals.parameters
    assert len({row.name for row in summary.layers}) == len(summary.layers)


def test_the_multiply_adds_of_the_dense_part_and_of_a_mask_head() -> None:
    for name in ("yolov3_light_tiny", "maskrcnn_light_tiny"):
        summary = resnets.summary(name, imgsz=(64, 96), num_classes=3)
        model = resnets.create_model(name, num_classes=3).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.dense(torch.zeros(1, 3, 64, 96))
            if name.startswith("mask"):
                heads = model.roi_heads
                heads.box_predictor(heads.box_head(torch.zeros(300, 96, 7, 7)))
                heads.mask_predictor(heads.mask_head(torch.zeros(100, 96, 14, 14)))
        assert 2 * summary.multiply_adds == counter.get_total_flops()


def test_the_size_of_its_own_and_no_drawing(tmp_path) -> None:
    assert resnets.summary("yolov3_tiny").imgsz == (416, 416)
    assert resnets.summary("fasterrcnn_light_tiny").imgsz == (320, 320)
    with pytest.raises(UserError, match="'tiny' is that of this"):
        resnets.summary("fasterrcnn_light_tiny").draw(tmp_path / "net.svg")
