"""The segmenter of a checkpoint of the task segmentation."""

import dataclasses

import torch

from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.segmenter import Segmenter
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint


def segmenter_settings(checkpoint: Checkpoint) -> SegmenterSettings:
    """The settings of the segmenter."""
    known = {field.name for field in dataclasses.fields(SegmenterSettings)}
    return SegmenterSettings(**{key: value for key, value in checkpoint.config.items() if key in known})


def network(checkpoint: Checkpoint) -> Segmenter:
    """The segmenter with its weights, in eval mode.

    Raises:
        UserError: the tensors do not fit the settings.
    """
    checkpoints.check_blocks(checkpoint)
    # The head counts where the classes have no names.
    num_classes = len(checkpoint.class_names) or len(checkpoint.tensors.get("head.bias", ())) or 1
    with torch.device("meta"):
        model = build_segmenter(segmenter_settings(checkpoint), checkpoint.spec, num_classes)
    checkpoints.assign_tensors(model, checkpoint)
    return model.eval()
