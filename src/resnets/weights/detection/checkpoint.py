"""The detector of a checkpoint of the task detection."""

import dataclasses

import torch
from torch import nn

from resnets.models.detection.settings import DetectorSettings
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint


def detector_settings(checkpoint: Checkpoint) -> DetectorSettings:
    """The settings of the detector."""
    known = {field.name for field in dataclasses.fields(DetectorSettings)}
    return DetectorSettings(**{key: value for key, value in checkpoint.config.items() if key in known})


def network(checkpoint: Checkpoint) -> nn.Module:
    """The detector with its weights, in eval mode.

    Raises:
        UserError: the tensors do not fit the settings.
    """
    from resnets.models.detection.build import build_detector  # here, since it imports all of torchvision

    checkpoints.check_blocks(checkpoint)
    with torch.device("meta"):
        model = build_detector(detector_settings(checkpoint), checkpoint.spec, len(checkpoint.class_names))
    checkpoints.assign_tensors(model, checkpoint)
    return model.eval()
