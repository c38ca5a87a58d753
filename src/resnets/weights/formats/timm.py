"""timm's names of a ResNet's tensors (timm/models/resnet.py and resnetv2.py): torchvision's and some more; and its folder.

A folder holds `model.safetensors` and `config.json`, which has the name of the network, the classes and how an image becomes
the input (timm/models/_hub.py); README.md is the model card.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights import provenance
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_temperature, model_card, spec_from_shapes, torchvision
from resnets.weights.formats.candidate import Guess
from resnets.weights.formats.keymap import Keymap, Rule, wanted
from resnets.weights.formats.torchvision import BLOCK
from resnets.weights.readers.read_any import Foreign

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
LAST = {False: "fc", True: "head.fc"}  # the last layer, by pre-activation
_CONFIG_LIMIT = 16 * 2**20  # bytes of a JSON file beside the tensors
FILES = (".safetensors", ".pth", ".pt", ".bin", ".tar")  # the endings of a single file
USAGE = """
import timm
from PIL import Image

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
probabilities = model(transform(Image.open("image.jpg").convert("RGB"))[None]).softmax(1)
names = model.pretrained_cfg["label_names"]
"""
_V2: dict[str, object] = {"stride_at": "3x3", "stem_preact": True}
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
        rules = (*DEEP, *SQUEEZE_EXCITE, *(POOLED if spec.shortcut == "D" else ()), *torchvision.RULES)
    tensors = wanted(spec)
    return Keymap(rules, tensors if top else torchvision.body(tensors))


def spec_of(name: str) -> ResNetSpec:
    """Our specification of timm's network `name`."""
    ours, changes = NAMES[name]
    return zoo.get_spec(ours, **changes)  # type: ignore[arg-type]


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
    own = seen["attention"] == "se" or seen["stem"] == "deep" or seen["shortcut"] == "D"
    if not own and foreign.container != "safetensors":
        return []
    # timm itself has no network of these with the stride elsewhere; torchvision's names are in wider use.
    specs = spec_from_shapes.candidates(seen, {"stride_at": "3x3"} if own or _named(foreign) else None)
    why = "the names are torchvision's and timm's alike, and safetensors is what timm writes"
    if own:
        why = "layer1.0.se, conv1.0 or downsample.2 are timm's names"
    if _named(foreign):
        why = f"config.json calls it timm's {_named(foreign)}"
    reasons = (why, *torchvision.described(seen))
    given = preprocessor(Path(foreign.path))
    preprocess, assumed = (given, ()) if given else (Preprocess.imagenet(), torchvision.ASSUMED)
    return [Guess(spec, "timm", reasons, spec_from_shapes.doubts(specs), preprocess, assumed) for spec in specs]


def _named(foreign: Foreign) -> str | None:
    """The name of timm's network in the folder's `config.json`."""
    given = foreign.attributes.get("config")
    name = given.get("architecture") if isinstance(given, Mapping) else None
    return name if isinstance(name, str) and name in NAMES else None


def class_names(foreign: Foreign) -> tuple[str, ...]:
    """The names of the outputs in `config.json`, or () where it has none."""
    given = foreign.attributes.get("config")
    names = given.get("label_names") if isinstance(given, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return ()
    return tuple(names)


def preprocessor(path: Path) -> Preprocess | None:
    """What `config.json` beside the tensors says, or None where there is none or it says another thing."""
    try:
        given = _pretrained_cfg(path)
        _, height, width = given["input_size"]
        common = {
            "size": (height, width), "interpolation": given.get("interpolation", "bilinear"), "mean": tuple(given["mean"]),
            "std": tuple(given["std"]), "color": "gray" if len(given["mean"]) == 1 else "rgb",
        }  # fmt: skip
        crop = float(given.get("crop_pct") or 0.875)
        if given.get("crop_mode", "center") == "squash" and crop == 1:
            return Preprocess(**common, resize="stretch")
        if given.get("crop_mode", "center") == "center" and height == width:
            return Preprocess(**common, resize_to=math.floor(height / crop))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ZeroDivisionError):
        return None
    except UserError:  # numbers of which no preprocessing can be made
        return None
    return None


def _pretrained_cfg(path: Path) -> dict[str, Any]:
    beside = (path if path.is_dir() else path.parent) / "config.json"
    if beside.stat().st_size > _CONFIG_LIMIT:
        raise ValueError(beside)
    given = json.loads(beside.read_text("utf-8"))["pretrained_cfg"]
    return dict(given)


def prepared(path: Path) -> Callable[[Path], Tensor]:
    """timm's own way from an image file to the tensor (C, h, w), made of `config.json`. Raises ImportError without timm."""
    from timm.data import create_transform, resolve_data_config

    given = _pretrained_cfg(path)
    transform = create_transform(**resolve_data_config(pretrained_cfg=given))
    mode = "L" if given["input_size"][0] == 1 else "RGB"

    def prepare(file: Path) -> Tensor:
        with Image.open(file) as image:
            return torch.as_tensor(transform(image.convert(mode)))

    return prepare


def _preactivation(foreign: Foreign) -> list[Guess]:
    tensors = foreign.tensors
    num_blocks = spec_from_shapes.num_blocks(list(tensors), "stages.{s}.blocks.{b}.conv1.weight")
    deep = "stem.conv1.weight" in tensors
    inputs = spec_from_shapes.convolution(tensors, "stem.conv1.weight" if deep else "stem.conv.weight")[1]
    first = spec_from_shapes.convolution(tensors, "stages.0.blocks.0.conv3.weight")[0]
    head = tensors.get("head.fc.weight")
    for name in NAMES:
        spec = spec_of(name)
        if (spec.preactivation, spec.num_blocks, spec.stem == "deep", spec.out_channels[0]) != (
            True,
            num_blocks,
            deep,
            first,
        ):
            continue
        num_classes = head.shape[0] if isinstance(head, Tensor) and head.dim() else spec.num_classes
        reasons = (
            "the names stages.0.blocks.0.conv1 and norm are timm's resnetv2",
            f"{'+'.join(map(str, num_blocks))} blocks of three convolutions, each after its norm",
            "a stem of three 3x3" if deep else "a 7x7 stem",
            "timm's stride stands in the 3x3 of a stage's first block, and its stem has no norm of its own",
            "no head" if head is None else f"a head of {num_classes} classes",
        )
        assumed: tuple[str, ...] = ("images are RGB with mean and standard deviation of 0.5 (`preprocess` says other)",)
        half = replace(Preprocess.imagenet(), mean=(0.5,) * 3, std=(0.5,) * 3)
        given = preprocessor(Path(foreign.path))
        spec = replace(spec, num_classes=num_classes, in_channels=inputs)
        return [Guess(spec, "timm", reasons, (), given or half, () if given else assumed)]
    return []


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the folder that `timm.create_model("local-dir:...")` opens or, where `path` ends in one of `FILES`, the tensors
    alone; return timm's name of the network. The temperature is folded into the last layer, BGR into the first of a folder.

    Raises:
        UserError: timm has no such network, or, for a folder, cannot prepare images as the checkpoint wants them.
    """
    name = architecture(checkpoint.spec)
    said = fold_temperature.metadata(checkpoint, top=top)
    folded = fold_temperature.with_temperature(checkpoint) if top else checkpoint
    single = is_file(path)
    if not single:
        folded = fold_temperature.in_rgb(folded)
    tensors = keymap(folded.spec, top=top).theirs(folded.tensors if top else torchvision.body(folded.tensors))
    if single:
        torchvision.save(path, tensors, said)
        return name
    folder = Path(path)
    if folder.is_file():
        raise UserError(f"'{folder}' is a file; name a folder, or a file that ends in {', '.join(FILES)}.")
    described = config(folded, name, top=top)
    torchvision.save(folder / "model.safetensors", tensors, said)
    atomic_write.write_text(folder / "config.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    notes = (
        *fold_temperature.notes(checkpoint, LAST[folded.spec.preactivation] if top else ""),
        *remarks(folded.preprocess),
    )
    card = model_card.text(checkpoint, library="timm", name=name, usage=USAGE, notes=tuple(notes))
    atomic_write.write_text(folder / model_card.FILE, card)
    return name


def is_file(path: str | Path) -> bool:
    """Whether `write` makes a single file of this path."""
    return Path(path).suffix.lower() in (*FILES, *torchvision.OTHERS)


def carries(path: str | Path) -> frozenset[str]:
    """What is written beside the tensors, of "classes", "preprocess" and "card"."""
    return frozenset() if is_file(path) else frozenset({"classes", "preprocess", "card"})


def config(checkpoint: Checkpoint, name: str, *, top: bool = True) -> dict[str, Any]:
    """The content of `config.json` for timm's network `name`.

    Raises:
        UserError: timm's transforms cannot make of an image what the checkpoint's preprocessing makes of it.
    """
    spec = checkpoint.spec
    num_classes = spec.num_classes if top else 0
    described: dict[str, Any] = {
        "architecture": name,
        "num_classes": num_classes,
        "num_features": spec.out_channels[-1],
    }
    if top and checkpoint.classes:
        described["label_names"] = list(checkpoint.classes)
    if spec.in_channels != 3:
        described["model_args"] = {"in_chans": spec.in_channels}
    described["pretrained_cfg"] = {
        **_transform(checkpoint.preprocess, spec.in_channels),
        "num_classes": num_classes,
        "fixed_input_size": False,
        "first_conv": ("stem.conv1" if spec.stem == "deep" else "stem.conv") if spec.preactivation
        else "conv1.0" if spec.stem == "deep" else "conv1",
        "classifier": LAST[spec.preactivation],
        "license": provenance.license_(checkpoint.provenance),
    }  # fmt: skip
    return described


def _transform(preprocess: Preprocess, in_channels: int) -> dict[str, Any]:
    """The part of `pretrained_cfg` of which timm makes its transform (timm/data/transforms_factory.py)."""
    height, width = preprocess.size
    odd = [
        f"resize='{preprocess.resize}'" if preprocess.resize not in ("shorter", "stretch") else "",
        "no crop after the resize" if preprocess.resize == "shorter" and preprocess.crop == "none" else "",
        f"shorter side resized for a crop of {height}x{width}"
        if preprocess.resize == "shorter" and height != width
        else "",
        "resizing without antialias" if not preprocess.antialias else "",
        "a whole mean image" if len(preprocess.mean) > preprocess.channels else "",
    ]
    if any(odd):
        raise UserError(
            f"timm's transforms cannot prepare this checkpoint's images: {', '.join(filter(None, odd))}. "
            f"A single file ({', '.join(FILES)}) holds the tensors alone."
        )
    squash = preprocess.resize == "stretch"
    return {
        "input_size": [in_channels, height, width],
        "crop_pct": 1.0 if squash else _crop_pct(height, int(preprocess.resize_to or height)),
        "crop_mode": "squash" if squash else "center",
        "interpolation": preprocess.interpolation,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }


def _crop_pct(side: int, shorter: int) -> float:
    """timm resizes the shorter side to floor(side / crop_pct)."""
    plain = side / shorter
    return plain if math.floor(side / plain) == shorter else side / (shorter + 0.5)


def remarks(preprocess: Preprocess) -> list[str]:
    """What a person has to do for timm to prepare an image as we do, a sentence each."""
    return (
        ["timm takes one channel: open images as gray, Image.open(path).convert('L')"]
        if preprocess.channels == 1
        else []
    )


def original(foreign: Foreign, spec: ResNetSpec) -> nn.Module:
    """timm's own network with the tensors of the file, each used and none left over.

    Raises:
        UserError: timm has no such network.
        ImportError: timm is not installed.
    """
    import timm

    with torch.device("meta"):
        net = timm.create_model(architecture(spec), num_classes=spec.num_classes, in_chans=spec.in_channels)
    return torchvision.filled(net, foreign.tensors)
