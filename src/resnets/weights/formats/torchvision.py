"""torchvision format: names of a ResNet's tensors (torchvision/models/resnet.py), which many other projects use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_into_tensors, library_files, spec_from_shapes
from resnets.weights.formats.candidate import ASSUMED, Candidate
from resnets.weights.formats.keymap import Keymap, Rule, backbone_tensors, expected_tensors
from resnets.weights.readers.read_any import WeightsFile

BLOCK = "stage{s}.block{b+1}"
RULES = (
    Rule("conv1.{...}", "stem.conv.{...}"),
    Rule("bn1.{...}", "stem.norm.{...}"),
    Rule("layer{s}.{b}.conv{n}.{...}", f"{BLOCK}.branch.conv{{n}}.{{...}}"),
    Rule("layer{s}.{b}.bn{n}.{...}", f"{BLOCK}.branch.norm{{n}}.{{...}}"),
    Rule("layer{s}.{b}.downsample.0.{...}", f"{BLOCK}.shortcut.conv.{{...}}"),
    Rule("layer{s}.{b}.downsample.1.{...}", f"{BLOCK}.shortcut.norm.{{...}}"),
    Rule("fc.{...}", "head.fc.{...}"),
)
# What timm adds.
DEEP = (
    Rule("conv1.0.{...}", "stem.conv1.{...}"),
    Rule("conv1.1.{...}", "stem.norm1.{...}"),
    Rule("conv1.3.{...}", "stem.conv2.{...}"),
    Rule("conv1.4.{...}", "stem.norm2.{...}"),
    Rule("conv1.6.{...}", "stem.conv3.{...}"),
)
SQUEEZE_EXCITE = (
    Rule("layer{s}.{b}.se.fc1.{...}", f"{BLOCK}.branch.attention.reduce.{{...}}"),
    Rule("layer{s}.{b}.se.fc2.{...}", f"{BLOCK}.branch.attention.expand.{{...}}"),
)
# Index 0 of a shortcut is its pooling, or an identity at stride 1.
POOLED = (
    Rule("layer{s}.{b}.downsample.1.{...}", f"{BLOCK}.shortcut.conv.{{...}}"),
    Rule("layer{s}.{b}.downsample.2.{...}", f"{BLOCK}.shortcut.norm.{{...}}"),
)
NAMES = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
)  # fmt: skip


def keymap(spec: ResNetSpec, *, top: bool = True) -> Keymap:
    """The names of torchvision and of resnets for the tensors of this network; without `top`, of all but its head."""
    return Keymap(RULES, expected_tensors(spec, top=top))


def architecture(spec: ResNetSpec) -> str:
    """torchvision's name of the network that computes what this one does.

    Raises:
        UserError: torchvision has none.
    """
    for name in NAMES:
        if spec_from_shapes.computes_the_same(spec, zoo.find(name).spec):
            return name
    raise UserError(f"torchvision has no network that computes what '{spec.name}' does; it has {', '.join(NAMES)}.")


def candidates(weights_file: WeightsFile) -> list[Candidate]:
    """The networks that the tensors fit; empty if the names are not torchvision's."""
    seen = observe(weights_file.tensors)
    if seen is None or seen["attention"] != "none" or seen["stem"] == "deep" or seen["shortcut"] == "D":
        return []
    specs = spec_from_shapes.matching_specs(seen)
    shortcuts = "" if seen["shortcut"] == "none" else ", downsample.0"
    reasons = (f"the names conv1, layer1.0.bn1{shortcuts} are torchvision's", *spec_from_shapes.reasons_for(seen))
    doubts = spec_from_shapes.doubts(specs)
    return [Candidate(spec, "torchvision", reasons, doubts, Preprocess.imagenet(), ASSUMED) for spec in specs]


def observe(tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """What the shapes show (see `spec_from_shapes.observe`), or None if the names are neither torchvision's nor timm's."""
    pooled = any(name.endswith(".downsample.2.weight") for name in tensors)
    rules = (*DEEP, *SQUEEZE_EXCITE, *(POOLED if pooled else ()), *RULES)
    return spec_from_shapes.observe(tensors, rules, pooled=pooled)


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the state_dict, and return torchvision's name of the network that loads it.

    A `.safetensors` file where `path` ends so, else one of `torch.save`. The temperature is folded into `fc`.
    """
    if checkpoint.spec.in_channels != 3:
        raise UserError(f"torchvision's networks take 3 channels; this one takes {checkpoint.spec.in_channels}.")
    name = architecture(checkpoint.spec)
    tensors = fold_into_tensors.with_temperature(checkpoint).tensors if top else backbone_tensors(checkpoint.tensors)
    metadata = fold_into_tensors.metadata(checkpoint, top=top)
    library_files.save(path, keymap(checkpoint.spec, top=top).from_resnets(tensors), metadata)
    return name


def extra_contents(path: str | Path) -> frozenset[str]:
    """What a written file includes besides the tensors, of "class_names", "preprocess" and "card": nothing."""
    return frozenset()


def reference_model(weights_file: WeightsFile, spec: ResNetSpec) -> nn.Module:
    """torchvision's own network with all tensors of the file, loaded strictly.

    Raises:
        UserError: torchvision has no such network.
    """
    from torchvision.models import get_model

    with torch.device("meta"):
        net = get_model(architecture(spec), num_classes=spec.num_classes)
    return library_files.load_strictly(net, weights_file.tensors)
