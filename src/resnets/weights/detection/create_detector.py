"""`create_model` for detectors: a new one, one on the backbone of a classifier, or one with the weights of a detector."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from resnets.errors import UserError
from resnets.message_format import format_list
from resnets.models import zoo as networks
from resnets.models.detection import zoo
from resnets.models.detection.build import build_detector
from resnets.models.detection.settings import DetectorSettings
from resnets.progress import log
from resnets.weights import adapt, download_published, find_weights
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
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
    parent = find_weights.read(download_published.imagenet_to_name(weights, name), task=None)
    if parent.spec.name != spec.name:
        raise UserError(f"The weights are of {parent.spec.name}; '{name}' has the network {spec.name}.")
    parent, notes = adapt.adapt_checkpoint(parent, num_classes=None, in_channels=in_channels)
    for note in notes:
        log(note)
    if parent.task != checkpoints.DETECTION:
        return _on_backbone(settings, parent, num_classes or NUM_CLASSES)
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
    return _with_num_classes(found, parent, num_classes)


def _on_backbone(settings: DetectorSettings, parent: Checkpoint, num_classes: int) -> nn.Module:
    """A new detector, in training mode, on the network of a checkpoint of another task.

    Nothing is frozen: its norms follow the batches, where torchvision freezes those, the stem and the first stage.
    """
    model: Any = build_detector(settings, parent.spec, num_classes)
    expected = model.backbone.state_dict()
    tensors = {key: each for key, each in parent.tensors.items() if not key.startswith("head.")}
    checkpoints.check_fit(expected, tensors, "The backbone of the checkpoint does not fit the network")
    model.backbone.load_state_dict(tensors)
    log("new, untrained neck and heads; the weights are those of the backbone")
    return model


def _with_num_classes(settings: DetectorSettings, parent: Checkpoint, num_classes: int) -> nn.Module:
    """The detector of the checkpoint, in eval mode, with new layers where they have a row for each class."""
    model = build_detector(settings, parent.spec, num_classes)
    own = model.state_dict()
    kept = {key: each for key, each in parent.tensors.items() if key in own and each.shape == own[key].shape}
    model.load_state_dict(kept, strict=False)
    new = dict.fromkeys(key.rpartition(".")[0] for key in own if key not in kept)
    log(f"new, untrained layers for {num_classes} classes: {format_list(list(new), 6, quote=False)}")
    return model.eval()
