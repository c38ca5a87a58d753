"""torchvision format: names of a ResNet's tensors (torchvision/models/resnet.py), which many other projects use."""

from __future__ import annotations

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
NAMES = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
)  # fmt: skip


def keymap(spec: ResNetSpec, *, top: bool = True) -> Keymap:
    """The names of torchvision and of resnets for the tensors of this network; without `top`, of all but its head."""
    return Keymap(RULES, backbone_tensors(expected_tensors(spec)) if not top else expected_tensors(spec))


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
    if (
        seen is None
        or seen["attention"] != "none"
        or seen["stem"] not in ("imagenet", "cifar")
        or seen["shortcut"] == "D"
    ):
        return []
    specs = spec_from_shapes.matching_specs(seen)
    shortcuts = "" if seen["shortcut"] == "none" else ", downsample.0"
    reasons = (f"the names conv1, layer1.0.bn1{shortcuts} are torchvision's", *spec_from_shapes.reasons_for(seen))
    doubts = spec_from_shapes.doubts(specs)
    return [Candidate(spec, "torchvision", reasons, doubts, Preprocess.imagenet(), ASSUMED) for spec in specs]


def observe(tensors: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """What the shapes show (see `spec_from_shapes`), or None if the names do not start with layerN.M."""
    num_blocks = spec_from_shapes.num_blocks(list(tensors), "layer{s}.{b}.conv1.weight")
    if not num_blocks or "layer1.0.bn1.running_mean" not in tensors:
        return None
    deep = "conv1.0.weight" in tensors
    _, in_channels, kernel = spec_from_shapes.convolution(tensors, "conv1.0.weight" if deep else "conv1.weight")
    stem_channels = spec_from_shapes.convolution(tensors, "conv1.6.weight" if deep else "conv1.weight")[0]
    bottleneck = "layer1.0.conv3.weight" in tensors
    last = "conv3" if bottleneck else "conv2"
    positions = [(s, b) for s, depth in enumerate(num_blocks, start=1) for b in range(depth)]
    inner = [spec_from_shapes.convolution(tensors, f"layer{s}.0.conv2.weight") for s in range(1, len(num_blocks) + 1)]
    out_channels = tuple(
        spec_from_shapes.convolution(tensors, f"layer{s}.0.{last}.weight")[0] for s in range(1, len(num_blocks) + 1)
    )
    if (
        kernel not in spec_from_shapes.KERNELS
        or not in_channels
        or not all(out_channels)
        or not all(into for _, into, _ in inner)
    ):
        return None
    plain = {(s, b) for s, b in positions if f"layer{s}.{b}.downsample.0.weight" in tensors}
    pooled = {(s, b) for s, b in positions if f"layer{s}.{b}.downsample.2.weight" in tensors}
    head = tensors.get("fc.weight")
    return {
        "stem": "deep" if deep else spec_from_shapes.KERNELS[kernel],
        "stem_channels": stem_channels,
        "in_channels": in_channels,
        "num_blocks": num_blocks,
        "out_channels": out_channels,
        "branch": "bottleneck" if bottleneck else "basic",
        "mid_channels": tuple(out for out, _, _ in inner) if bottleneck else (),
        "groups": inner[0][0] // inner[0][1] if bottleneck else 1,
        "attention": "se" if "layer1.0.se.fc1.weight" in tensors else "none",
        "preactivation": False,
        "bias": "none",
        "shortcut": spec_from_shapes.shortcut(num_blocks, plain | pooled, bool(pooled)),
        "num_classes": None if head is None or not head.dim() else head.shape[0],
    }


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
