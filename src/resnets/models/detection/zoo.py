"""The detectors by name: a prefix for the architecture, and the name of a network of the zoo as the backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from resnets.errors import UserError
from resnets.message_format import suggestion
from resnets.models import zoo
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
# torchvision's names. The first versions are `fasterrcnn_resnet50` and `maskrcnn_resnet50`.
TORCHVISION = {
    "fasterrcnn_resnet50_fpn": _FASTER,
    "fasterrcnn_resnet50_fpn_v2": replace(_FASTER, **_V2),
    "maskrcnn_resnet50_fpn": _MASK,
    "maskrcnn_resnet50_fpn_v2": replace(_MASK, **_V2),
}


def list_models(pattern: str = "*") -> list[str]:
    """The names of the detectors that match a pattern such as "yolov3_*"; one without a wildcard matches any substring."""
    names = [
        f"{prefix}{name}" for prefix, settings in PREFIXES.items() for name in zoo.entries() if _fits(settings, name)
    ]
    return zoo.match_names([*names, *TORCHVISION], pattern)


def is_detector(name: str) -> bool:
    """Whether a name is that of a detector, whatever its backbone."""
    return name.startswith(tuple(PREFIXES))


def get(name: str) -> tuple[DetectorSettings, ResNetSpec]:
    """The settings of a detector and the specification of its backbone; an unknown name is a UserError."""
    if name in TORCHVISION:
        return TORCHVISION[name], zoo.get_spec("resnet50")
    prefix = max((prefix for prefix in PREFIXES if name.startswith(prefix)), key=len, default=None)
    if prefix is None:
        hint = suggestion(name, list_models()) or f" Their names begin with {', '.join(PREFIXES)}."
        raise UserError(f"There is no detector '{name}'.{hint}")
    settings, backbone = PREFIXES[prefix], zoo.get_spec(name.removeprefix(prefix))
    if not _fits(settings, backbone.name):
        raise UserError(
            f"The network '{backbone.name}' has no stage behind a map of stride 16, which '{prefix}' needs; use 'fasterrcnn_"
            f"{backbone.name}'."
        )
    return settings, backbone


def _fits(settings: DetectorSettings, backbone: str) -> bool:
    """Whether the layout fits the network: C4 and DC5 need a map of stride 16 and stages after it."""
    if settings.layout == "fpn":
        return True
    stride = 1 if (spec := zoo.find(backbone).spec).stem == "cifar" else 4
    for step in spec.strides:
        stride *= step
    return stride > 16
