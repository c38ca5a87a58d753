"""What named recipes have for a segmentation beside their own values."""

from collections.abc import Mapping
from typing import Any

_SCRATCH_AND_FINETUNE: Mapping[str, Any] = {
    "augment.scale": (0.35, 1.0), "augment.erase": 0.0, "augment.jitter": 0.3,
    "optim.name": "adamw", "optim.lr_batch": None, "optim.nesterov": False, "optim.weight_decay": 0.05,
    "optim.decay_norm_and_bias": False, "optim.clip_norm": 10.0,
    "schedule.name": "poly", "schedule.warmup_epochs": 1.0,
}  # fmt: skip

RECIPE_VALUES: Mapping[str, Mapping[str, Any]] = {
    "scratch": {**_SCRATCH_AND_FINETUNE, "model.zero_init_residual": None, "optim.lr": 7e-4},
    # New decoder and heads from the first step on, the backbone at a tenth of their learning rate.
    "finetune": {
        **_SCRATCH_AND_FINETUNE,
        "optim.lr": 1e-3,
        "freeze.head_epochs": 0,
        "freeze.backbone_lr_factor": 0.1,
        "ema.decay": 0.998,
        "stop.epochs": 30,
    },
}
