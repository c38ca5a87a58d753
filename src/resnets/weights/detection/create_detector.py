"""`create_model` for detectors: a new one, one on the backbone of a classifier, or one with the weights of a detector."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from resnets.errors import UserError
from resnets.models import zoo as networks
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.settings import DetectorSettings
from resnets.weights import adapt, find_weights
from resnets.weights import checkpoint as checkpoints
from resnets.weights.detection.checkpoint import detector_settings, network
from resnets.weights.detection.torchvision import STRUCTURE

# Of a new detector: the category numbers of COCO, of which 80 are in use. torchvision's detectors have as many.
NUM_CLASSES = 90
DECIDED_BY_DATA = ("anchor_sizes", "anchor_ratios")


def create_detector(
    name: str, weights: str, num_classes: int | None, in_channels: int, overrides: Mapping[str, Any]
) -> nn.Module:
    """The detector of a name of `models/detection/zoo.py`, as `create_model` describes it; `overrides` without weights only.

    Raises:
        UserError: an unknown name or override, or weights of another detector or network.
    """
    settings, spec = zoo.get(name)
    if weights == "none":
        known = {field.name for field in dataclasses.fields(DetectorSettings)}
        own = {key: value for key, value in overrides.items() if key in known}
        others = {key: value for key, value in overrides.items() if key not in known}
        spec = networks.get_spec(spec.name, in_channels=in_channels, **others)
        return build_detector(dataclasses.replace(settings, **own), spec, num_classes or NUM_CLASSES)
    parent = find_weights.read_for_model(weights, name, spec, in_channels)
    if parent.task != checkpoints.DETECTION:
        # Nothing is frozen: its norms follow the batches, where torchvision freezes those, the stem and the first stage.
        detector = build_detector(settings, parent.spec, num_classes or NUM_CLASSES)
        adapt.load_backbone(detector, parent, "neck and heads")
        return detector
    found = detector_settings(parent)
    different = [
        f"{key}={getattr(found, key)}"
        for key in STRUCTURE
        if key not in DECIDED_BY_DATA and getattr(found, key) != getattr(settings, key)
    ]
    if different:
        raise UserError(f"The weights are of another detector than '{name}': {', '.join(different)}.")
    if num_classes in (None, len(parent.class_names)):
        return network(parent)
    return adapt.load_all_but_classes(build_detector(found, parent.spec, num_classes), parent, num_classes)
