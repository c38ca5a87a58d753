"""What named recipes have for a detection beside their own values; the docstrings of those for COCO give the sources."""

from collections.abc import Mapping
from typing import Any

from resnets.models.detection.yolo.anchors import COCO_ANCHORS

_SCRATCH_AND_FINETUNE: Mapping[str, Any] = {
    "augment.scale": (0.35, 1.0), "augment.erase": 0.0, "augment.jitter": 0.2,
    "optim.name": "adamw", "optim.lr": 1e-3, "optim.lr_batch": None, "optim.nesterov": False, "optim.weight_decay": 0.05,
    "optim.decay_norm_and_bias": False, "optim.clip_norm": 10.0,
    "schedule.warmup_epochs": 1.0,
}  # fmt: skip
_WITHOUT_CROPS: Mapping[str, Any] = {"task.scale_jitter": (1.0, 1.0), "task.zoom_out": 0.0, "task.object_crop": 0.0}

# The detectors that the recipes of papers are for; others have no such settings.
ARCHITECTURES: Mapping[str, tuple[str, ...]] = {
    "he2015_coco": ("fasterrcnn",),
    "coco_fasterrcnn": ("fasterrcnn", "maskrcnn"),
    "yolov3_coco": ("yolov3",),
}
RECIPE_VALUES: Mapping[str, Mapping[str, Any]] = {
    "scratch": {**_SCRATCH_AND_FINETUNE, "model.zero_init_residual": None},
    "finetune": {
        **_SCRATCH_AND_FINETUNE,
        "optim.lr": 5e-4,
        "freeze.head_epochs": 0,
        "freeze.norm": "eval",
        "ema.decay": 0.998,
    },
    "he2015_coco": {
        **_WITHOUT_CROPS,
        "task.layout": "c4",
        "task.shorter_side": 600,
        "task.anchor_sizes": (64.0, 128.0, 256.0, 512.0),
        "task.anchor_samples": 256,
        "task.proposal_samples": 64,
        "task.nms_iou": 0.3,
    },
    "coco_fasterrcnn": {
        **_WITHOUT_CROPS,
        "task.shorter_side": 800,
        "task.anchor_sizes": (32.0, 64.0, 128.0, 256.0, 512.0),
    },
    "yolov3_coco": {
        **_WITHOUT_CROPS,
        "task.anchors": tuple(side for pair in COCO_ANCHORS for side in pair),
        "task.ignore_iou": 0.7,
        "task.multiscale": True,
    },
}  # fmt: skip
