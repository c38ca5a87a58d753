"""timm's names of a ResNet's tensors (timm/models/resnet.py and resnetv2.py): torchvision's and some more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from resnets import atomic
from resnets.data.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import torchvision, traits
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.foreign import Foreign
from resnets.weights.guess import Guess
from resnets.weights.keymap import Keymap, Rule, wanted
from resnets.weights.torchvision import BLOCK

DEEP = (
    Rule("conv1.0.{...}", "stem.conv1.{...}"),
    Rule("conv1.1.{...}", "stem.norm1.{...}"),
    Rule("conv1.3.{...}", "stem.conv2.{...}"),
    Rule("conv1.4.{...}", "stem.norm2.{...}"),
    Rule("conv1.6.{...}", "stem.conv3.{...}"),
)
GATE = (
    Rule("layer{s}.{b}.se.fc1.{...}", f"{BLOCK}.branch.gate.reduce.{{...}}"),
    Rule("layer{s}.{b}.se.fc2.{...}", f"{BLOCK}.branch.gate.expand.{{...}}"),
)
# Number 0 of a shortcut is its pool, or nothing where it does not shrink.
POOLED = (
    Rule("layer{s}.{b}.downsample.1.{...}", f"{BLOCK}.shortcut.conv.{{...}}"),
    Rule("layer{s}.{b}.downsample.2.{...}", f"{BLOCK}.shortcut.norm.{{...}}"),
)
PREACTIVATION = (
    Rule("stem.{...}", "stem.{...}"),
    Rule("stages.{s-1}.blocks.{b}.norm1.{...}", f"{BLOCK}.norm.{{...}}"),
    Rule("stages.{s-1}.blocks.{b}.downsample.{...}", f"{BLOCK}.shortcut.{{...}}"),
    Rule("stages.{s-1}.blocks.{b}.{...}", f"{BLOCK}.branch.{{...}}"),
    Rule("norm.{...}", "final.norm.{...}"),
    Rule("head.fc.weight", "head.fc.weight", "pointwise"),
    Rule("head.fc.bias", "head.fc.bias"),
)
_V2: dict[str, object] = {"stride_at": "3x3", "stem_raw": True}
_D: dict[str, object] = {"stem": "deep", "shortcut": "D"}
# timm's name -> the name in the zoo and what timm has otherwise.
NAMES: dict[str, tuple[str, dict[str, object]]] = {
    **{name: (name, {}) for name in torchvision.NAMES},
    **{name: (name, {}) for name in ("resnet50c", "resnet50d", "resnet101d", "resnet152d")},
    **{f"resnet{depth}c": (f"resnet{depth}", {"stem": "deep"}) for depth in (101, 152)},
    **{f"resnet{depth}d": (f"resnet{depth}", _D) for depth in (18, 34)},
    **{f"seresnet{depth}": (f"se_resnet{depth}", {}) for depth in (18, 34, 50, 101, 152)},
    **{f"resnetv2_{depth}": (f"resnet{depth}_v2", _V2) for depth in (50, 101, 152)},
    **{f"resnetv2_{depth}d": (f"resnet{depth}_v2", {**_V2, **_D}) for depth in (50, 101, 152)},
}


def keymap(spec: ResNetSpec, *, top: bool = True) -> Keymap:
    """Their names and ours for the tensors of this network; without `top`, of all but its head."""
    if spec.preactivation:
        rules: tuple[Rule, ...] = PREACTIVATION
    else:
        rules = (*DEEP, *GATE, *(POOLED if spec.shortcut == "D" else ()), *torchvision.RULES)
    tensors = wanted(spec)
    return Keymap(rules, tensors if top else torchvision.body(tensors))


def spec_of(name: str) -> ResNetSpec:
    """Our specification of timm's network `name`."""
    ours, changes = NAMES[name]
    return zoo.spec(ours, **changes)  # type: ignore[arg-type]


def architecture(spec: ResNetSpec) -> str:
    """timm's name of a network that computes what ours does.

    Raises:
        UserError: timm has none.
    """
    for name in NAMES:
        if torchvision.same(spec, spec_of(name)):
            return name
    raise UserError(f"timm has no network that computes what '{spec.name}' does; it has {', '.join(NAMES)}.")


def guesses(foreign: Foreign) -> list[Guess]:
    """The networks whose tensors these can be; empty when the names are not timm's."""
    if "stages.0.blocks.0.conv1.weight" in foreign.tensors:
        return _preactivation(foreign)
    seen = torchvision.look(foreign.tensors)
    if seen is None:
        return []
    own = seen["gate"] == "se" or seen["stem"] == "deep" or seen["shortcut"] == "D"
    if not own and foreign.container != "safetensors":
        return []
    # timm itself has no network of these with the stride elsewhere; torchvision's names are in wider use.
    specs = traits.candidates(seen, {"stride_at": "3x3"} if own else None)
    why = "layer1.0.se, conv1.0 or downsample.2 are timm's names" if own else (
        "the names are torchvision's and timm's alike, and safetensors is what timm writes")  # fmt: skip
    reasons = (why, *torchvision.described(seen))
    return [
        Guess(spec, "timm", reasons, traits.doubts(specs), Preprocess.imagenet(), torchvision.ASSUMED) for spec in specs
    ]


def _preactivation(foreign: Foreign) -> list[Guess]:
    tensors = foreign.tensors
    depths = traits.depths(list(tensors), "stages.{s}.blocks.{b}.conv1.weight")
    deep = "stem.conv1.weight" in tensors
    inputs = traits.convolution(tensors, "stem.conv1.weight" if deep else "stem.conv.weight")[1]
    first = traits.convolution(tensors, "stages.0.blocks.0.conv3.weight")[0]
    head = tensors.get("head.fc.weight")
    for name in NAMES:
        spec = spec_of(name)
        if (spec.preactivation, spec.depths, spec.stem == "deep", spec.widths[0]) != (True, depths, deep, first):
            continue
        classes = head.shape[0] if isinstance(head, Tensor) and head.dim() else spec.classes
        reasons = (
            "the names stages.0.blocks.0.conv1 and norm are timm's resnetv2",
            f"{'+'.join(map(str, depths))} blocks of three convolutions, each after its norm",
            "a stem of three 3x3" if deep else "a 7x7 stem",
            "timm's stride stands in the 3x3 of a stage's first block, and its stem has no norm of its own",
            "no head" if head is None else f"a head of {classes} classes",
        )
        assumed = ("pictures are RGB with mean and standard deviation of 0.5 (--preprocess says other)",)
        half = replace(Preprocess.imagenet(), mean=(0.5,) * 3, std=(0.5,) * 3)
        spec = replace(spec, classes=classes, in_channels=inputs)
        return [Guess(spec, "timm", reasons, (), half, assumed)]
    return []


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the tensors as timm writes `model.safetensors`, and return timm's name of the network that loads them."""
    name = architecture(checkpoint.spec)
    given = checkpoint.tensors if top else torchvision.body(checkpoint.tensors)
    tensors = keymap(checkpoint.spec, top=top).theirs(given)
    with atomic.replacing(path) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
    return name


def original(foreign: Foreign, spec: ResNetSpec) -> nn.Module:
    """timm's own network with the tensors of the file, each used and none left over.

    Raises:
        UserError: timm has no such network.
        ImportError: timm is not installed.
    """
    import timm

    with torch.device("meta"):
        net = timm.create_model(architecture(spec), num_classes=spec.classes, in_chans=spec.in_channels)
    return torchvision.filled(net, foreign.tensors)
