"""`create_model` for segmenters: a new one, one on the backbone of a classifier, or one with the weights of a segmenter."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.segmentation import zoo
from resnets.models.segmentation.build import build_segmenter
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.weights import adapt, find_weights
from resnets.weights import checkpoint as checkpoints
from resnets.weights.segmentation.checkpoint import network, segmenter_settings

NUM_CLASSES = 21  # of a new segmenter: those of VOC with the background, as in torchvision


def create_segmenter(
    name: str, weights: str, num_classes: int | None, in_channels: int, overrides: Mapping[str, Any]
) -> nn.Module:
    """The segmenter of a name of `models/segmentation/zoo.py`, as `create_model` describes it; `overrides` without weights only.

    Raises:
        UserError: an unknown name or override, or weights of another segmenter or network.
    """
    settings, spec = zoo.get(name)
    if weights == "none":
        known = {field.name for field in dataclasses.fields(SegmenterSettings)}
        own = {key: value for key, value in overrides.items() if key in known}
        others = {key: value for key, value in overrides.items() if key not in known}
        spec = networks.get_spec(spec.name, in_channels=in_channels, **others)
        return build_segmenter(dataclasses.replace(settings, **own), spec, num_classes or NUM_CLASSES)
    parent = find_weights.read_for_model(weights, name, spec, in_channels)
    if parent.task == checkpoints.DETECTION:
        raise UserError(f"The weights are of a detector; received '{name}'.")
    if parent.task != checkpoints.SEGMENTATION:
        segmenter = build_segmenter(settings, parent.spec, num_classes or NUM_CLASSES)
        adapt.load_backbone(segmenter, parent, "decoder and head")
        return segmenter
    found = segmenter_settings(parent)
    if found.architecture != settings.architecture:
        raise UserError(f"The weights are of another segmenter than '{name}': architecture={found.architecture}.")
    if num_classes in (None, len(parent.class_names)):
        return network(parent)
    return adapt.load_all_but_classes(build_segmenter(found, parent.spec, num_classes), parent, num_classes)
