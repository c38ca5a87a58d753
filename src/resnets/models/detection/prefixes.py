"""What the names of detectors begin with, and torchvision's names: the settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resnets.models.detection.settings import DetectorSettings
from resnets.models.spec import ResNetSpec

_FASTER = DetectorSettings()
_MASK = DetectorSettings(architecture="maskrcnn")
# One map has the anchors of all sizes; the numbers of regions are those of Ren et al. 2015, section 3.3, with 300 proposals.
_SINGLE: dict[str, Any] = {"train_candidates": 12000, "candidates": 6000, "proposals": 300, "aligned": True}
# On a small backbone the heads are the cost: with torchvision's widths they take 5 times the operations of a resnet18.
_LIGHT: dict[str, Any] = {
    "neck_channels": 96, "train_candidates": 300, "candidates": 300, "train_proposals": 300, "proposals": 300,
    "proposal_samples": 128, "box_head_dim": 256, "mask_channels": 96,
}  # fmt: skip
_YOLO = DetectorSettings(architecture="yolov3", neck_channels=512, score_floor=0.01, nms_iou=0.45, candidates=1000)
# Li et al. 2021, Benchmarking Detection Transfer Learning with Vision Transformers, as in torchvision's second versions.
_V2: dict[str, Any] = {"head_norm": True, "rpn_convs": 2, "box_head_convs": 4}

PREFIXES = {
    "fasterrcnn_": _FASTER,
    "fasterrcnn_c4_": replace(_FASTER, layout="c4", pool_size=14, **_SINGLE),
    "fasterrcnn_dc5_": replace(_FASTER, layout="dc5", **_SINGLE),
    "fasterrcnn_light_": replace(_FASTER, **_LIGHT),
    "maskrcnn_": _MASK,
    "maskrcnn_light_": replace(_MASK, **_LIGHT),
    "yolov3_": _YOLO,
    "yolov3_light_": replace(_YOLO, neck_channels=256),
}
# What each prefix is; `settings.py` names the papers.
DESCRIPTIONS = {
    "fasterrcnn_": "Faster R-CNN with a feature pyramid, as wide as torchvision's",
    "fasterrcnn_c4_": "Faster R-CNN on one map of stride 16, whose regions pass the last stage",
    "fasterrcnn_dc5_": "Faster R-CNN on one map of stride 16, by dilation",
    "fasterrcnn_light_": "Faster R-CNN with a narrower pyramid, for small images and processors",
    "maskrcnn_": "Mask R-CNN with a feature pyramid: a mask for each object as well",
    "maskrcnn_light_": "Mask R-CNN with a narrower pyramid",
    "yolov3_": "YOLOv3 with three scales, as wide as darknet's",
    "yolov3_light_": "YOLOv3 with three narrower scales",
}
# torchvision's names. The first versions are `fasterrcnn_resnet50` and `maskrcnn_resnet50`.
TORCHVISION = {
    "fasterrcnn_resnet50_fpn": _FASTER,
    "fasterrcnn_resnet50_fpn_v2": replace(_FASTER, **_V2),
    "maskrcnn_resnet50_fpn": _MASK,
    "maskrcnn_resnet50_fpn_v2": replace(_MASK, **_V2),
}


def prefix_of(name: str) -> str | None:
    """The key of `PREFIXES` that a name begins with, the longest."""
    return max((prefix for prefix in PREFIXES if name.startswith(prefix)), key=len, default=None)


def names(networks: Mapping[str, ResNetSpec]) -> list[str]:
    """The names of all detectors on these networks."""
    built = [
        f"{prefix}{name}" for prefix, each in PREFIXES.items() for name, spec in networks.items() if fits(each, spec)
    ]
    return [*built, *TORCHVISION]


def fits(settings: DetectorSettings, backbone: ResNetSpec) -> bool:
    """Whether the layout fits the network: C4 and DC5 need a map of stride 16 and stages after it."""
    if settings.layout == "fpn":
        return True
    stride = 1 if backbone.stem in ("cifar", "whiten") else 4
    for step in backbone.strides:
        stride *= step
    return stride > 16
