"""Hugging Face's names of a ResNet's tensors (transformers/models/resnet/modeling_resnet.py) and its folder.

A folder holds `model.safetensors` and `config.json`; the latter says what shapes cannot: `downsample_in_bottleneck` puts
the stride in the first 1x1. `preprocessor_config.json` names an image processor and says how an image becomes the input;
README.md is the model card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_temperature, model_card, spec_from_shapes, torchvision
from resnets.weights.formats.candidate import Guess
from resnets.weights.formats.keymap import Keymap, Rule, wanted
from resnets.weights.readers.read_any import Foreign

STEM = "resnet.embedder.embedder"
LAYER = "resnet.encoder.stages.{s-1}.layers.{b-1}"
BLOCK = "stage{s}.block{b}"
RULES = (
    Rule(f"{STEM}.convolution.{{...}}", "stem.conv.{...}"),
    Rule(f"{STEM}.normalization.{{...}}", "stem.norm.{...}"),
    Rule(f"{LAYER}.layer.{{n-1}}.convolution.{{...}}", f"{BLOCK}.branch.conv{{n}}.{{...}}"),
    Rule(f"{LAYER}.layer.{{n-1}}.normalization.{{...}}", f"{BLOCK}.branch.norm{{n}}.{{...}}"),
    Rule(f"{LAYER}.shortcut.convolution.{{...}}", f"{BLOCK}.shortcut.conv.{{...}}"),
    Rule(f"{LAYER}.shortcut.normalization.{{...}}", f"{BLOCK}.shortcut.norm.{{...}}"),
    Rule("classifier.1.{...}", "head.fc.{...}"),
)
METHODS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
PROCESSOR = "preprocessor_config.json"
FILES = (".safetensors", ".bin", ".pth", ".pt", ".json", ".h5", ".keras", ".onnx")  # no names of folders
USAGE = """
from transformers import pipeline

classify = pipeline("image-classification", model="FOLDER")
print(classify("image.jpg"))
"""
USAGE_BODY = """
from transformers import AutoImageProcessor, AutoModel

processor, model = AutoImageProcessor.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER")
"""
_CONFIG_LIMIT = 16 * 2**20  # bytes of a JSON file beside the tensors


def keymap(spec: ResNetSpec, *, top: bool = True) -> Keymap:
    """Their names and ours for the tensors of this network; without `top`, of all but its head (their `ResNetModel`)."""
    if top:
        return Keymap(RULES, wanted(spec))
    bare = [Rule(rule.theirs.removeprefix("resnet."), rule.ours) for rule in RULES]
    return Keymap(bare, torchvision.body(wanted(spec)))


def config(spec: ResNetSpec, classes: tuple[str, ...], *, top: bool = True) -> dict[str, Any]:
    """The content of `config.json` for this network.

    Raises:
        UserError: their `ResNetForImageClassification` cannot compute what this network does.
    """
    bottleneck = spec.branch == "bottleneck"
    plain = ResNetSpec(
        spec.name, stem_channels=spec.stem_channels, num_blocks=spec.num_blocks, out_channels=spec.out_channels,
        branch=spec.branch, mid_channels=tuple(n // 4 for n in spec.out_channels) if bottleneck else (), stride_at=spec.stride_at,
        strides=(spec.strides[0], *(2,) * (len(spec.num_blocks) - 1)),
    )  # fmt: skip
    if not torchvision.same(spec, plain) or spec.strides[0] > 2:
        raise UserError(f"Hugging Face's ResNet cannot compute what '{spec.name}' does: it has basic blocks or bottlenecks "
                        "of a quarter of the channels, a 7x7 stem and projections of option B.")  # fmt: skip
    names = classes or [f"LABEL_{number}" for number in range(spec.num_classes)]
    return {
        "architectures": ["ResNetForImageClassification" if top else "ResNetModel"],
        "model_type": "resnet",
        "num_channels": spec.in_channels,
        "embedding_size": spec.stem_channels,
        "hidden_sizes": list(spec.out_channels),
        "depths": list(spec.num_blocks),
        "layer_type": spec.branch,
        "hidden_act": "relu",
        "downsample_in_first_stage": spec.strides[0] == 2,
        "downsample_in_bottleneck": bottleneck and spec.stride_at == "1x1",
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def guesses(foreign: Foreign) -> list[Guess]:
    """The networks whose tensors these can be; empty when the names are not those of transformers' ResNet."""
    tensors = {
        name if name.startswith(("resnet.", "classifier.")) else f"resnet.{name}": tensor
        for name, tensor in foreign.tensors.items()
    }
    first = "resnet.encoder.stages.{s}.layers.{b}.layer.0.convolution.weight"
    num_blocks = spec_from_shapes.num_blocks(list(tensors), first)
    _, in_channels, kernel = spec_from_shapes.convolution(tensors, f"{STEM}.convolution.weight")
    if not num_blocks or kernel != 7:
        return []
    bottleneck = "resnet.encoder.stages.0.layers.0.layer.2.convolution.weight" in tensors
    place = "resnet.encoder.stages.{}.layers.{}"
    places = [(s, b) for s, depth in enumerate(num_blocks) for b in range(depth)]
    inner = [
        spec_from_shapes.convolution(tensors, f"{place.format(s, 0)}.layer.1.convolution.weight")
        for s in range(len(num_blocks))
    ]
    last = 2 if bottleneck else 1
    out_channels = [
        spec_from_shapes.convolution(tensors, f"{place.format(s, 0)}.layer.{last}.convolution.weight")[0]
        for s in range(len(num_blocks))
    ]
    if not all(out_channels) or not all(into for _, into, _ in inner):
        return []
    projected = {(s, b) for s, b in places if f"{place.format(s, b)}.shortcut.convolution.weight" in tensors}
    head = tensors.get("classifier.1.weight")
    seen = {
        "stem": "imagenet",
        "stem_channels": spec_from_shapes.convolution(tensors, f"{STEM}.convolution.weight")[0],
        "in_channels": in_channels,
        "num_blocks": num_blocks,
        "out_channels": tuple(out_channels),
        "branch": "bottleneck" if bottleneck else "basic",
        "mid_channels": tuple(out for out, _, _ in inner) if bottleneck else (),
        "groups": 1,
        "attention": "none",
        "preactivation": False,
        "bias": "none",
        "shortcut": spec_from_shapes.shortcut(num_blocks, projected, False),
        "num_classes": None if head is None or not head.dim() else head.shape[0],
    }
    return _with_config(foreign, seen)


def _with_config(foreign: Foreign, seen: Mapping[str, Any]) -> list[Guess]:
    reasons = ["the names resnet.encoder.stages and embedder are those of transformers", *torchvision.described(seen)]
    given = foreign.attributes.get("config")
    preprocess = preprocessor(Path(foreign.path))
    if not isinstance(given, Mapping):
        specs = spec_from_shapes.candidates(seen)
        assumed = () if preprocess else torchvision.ASSUMED
        return [
            Guess(spec, "huggingface", tuple(reasons), spec_from_shapes.doubts(specs), preprocess, assumed)
            for spec in specs
        ]
    if given.get("hidden_act", "relu") != "relu":
        raise UserError(f"'{foreign.path}' has the activation '{given['hidden_act']}'; a ResNet of ours has ReLU.")
    fixed: dict[str, Any] = {}
    if seen["branch"] == "bottleneck":
        first = bool(given.get("downsample_in_bottleneck", False))
        fixed["stride_at"] = "1x1" if first else "3x3"
        reasons.append(f"config.json says downsample_in_bottleneck {first}: the stride in the {fixed['stride_at']}")
    specs = spec_from_shapes.candidates(seen, fixed)
    if given.get("downsample_in_first_stage", False):
        reasons.append("config.json says downsample_in_first_stage")
        specs = [replace(spec, strides=(2, *spec.strides[1:])) for spec in specs]
    assumed = () if preprocess else torchvision.ASSUMED
    return [
        Guess(spec, "huggingface", tuple(reasons), spec_from_shapes.doubts(specs), preprocess, assumed)
        for spec in specs
    ]


def class_names(foreign: Foreign) -> tuple[str, ...]:
    """The names of the outputs in `config.json`, or () where it has none that count from 0 without a gap."""
    given = foreign.attributes.get("config")
    labels = given.get("id2label") if isinstance(given, Mapping) else None
    if not isinstance(labels, Mapping):
        return ()
    names = [labels.get(str(i)) for i in range(len(labels))]
    if not all(isinstance(name, str) and name for name in names) or placeholders(names):
        return ()
    return tuple(map(str, names))


def placeholders(names: Sequence[Any]) -> bool:
    """Whether these are what transformers writes for want of names: LABEL_0, LABEL_1, …"""
    return all(name == f"LABEL_{number}" for number, name in enumerate(names))


def preprocessor(path: Path) -> Preprocess | None:
    """What `preprocessor_config.json` beside the tensors says, or None where there is none or it says another thing."""
    beside = (path if path.is_dir() else path.parent) / PROCESSOR
    try:
        if beside.stat().st_size > _CONFIG_LIMIT:
            return None
        given = json.loads(beside.read_text("utf-8"))
        if not all(given.get(key, True) for key in ("do_resize", "do_rescale", "do_normalize")):
            return None
        return replace(
            _shape(given), interpolation=METHODS[given.get("resample", 3)], scale=_scale(given),
            mean=tuple(given["image_mean"]), std=tuple(given["image_std"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ZeroDivisionError):
        return None
    except UserError:  # numbers of which no preprocessing can be made
        return None


def _shape(given: Mapping[str, Any]) -> Preprocess:
    """Resize and crop, by the name of the image processor."""
    kind = str(given.get("image_processor_type", given.get("feature_extractor_type", "ConvNext")))
    size = given["size"]
    if kind.startswith(("ViT", "Bit")):
        if isinstance(size, dict) and "height" in size:
            to: tuple[int, int] = (int(size["height"]), int(size["width"]))
            if kind.startswith("ViT") or not given.get("do_center_crop", True):
                return Preprocess(size=to, resize="stretch")
        shorter = int(size["shortest_edge"] if isinstance(size, dict) else size)
        if kind.startswith("ViT"):
            return Preprocess(size=(shorter, shorter), resize="stretch")
        if not given.get("do_center_crop", True):
            return Preprocess(size=(shorter, shorter), resize_to=shorter, crop="none")
        crop = given["crop_size"]
        inner = (int(crop["height"]), int(crop["width"])) if isinstance(crop, dict) else (int(crop), int(crop))
        return Preprocess(size=inner, resize_to=shorter)
    side = int(size["shortest_edge"] if isinstance(size, dict) else size)
    if side >= 384:  # ConvNextImageProcessor then stretches and does not crop
        return Preprocess(size=(side, side), resize="stretch")
    return Preprocess(size=(side, side), resize_to=int(side / given.get("crop_pct", 0.875)))


def _scale(given: Mapping[str, Any]) -> float:
    factor = float(given.get("rescale_factor", 1 / 255))
    return float(round(1 / factor)) if abs(1 / factor - round(1 / factor)) < 1e-6 else 1 / factor


def processor_config(preprocess: Preprocess) -> dict[str, Any]:
    """The content of `preprocessor_config.json`: `BitImageProcessor` resizes the shorter side and crops,
    `ViTImageProcessor` stretches; both do so at every size.

    Raises:
        UserError: no image processor of transformers makes the same of an image; the message says what differs.
    """
    color, scale, size = preprocess.color, preprocess.scale, preprocess.size
    odd = [
        f"the images are {color}" if color != "rgb" else "",
        f"resize='{preprocess.resize}'" if preprocess.resize not in ("shorter", "stretch") else "",
        "resizing without antialias" if not preprocess.antialias else "",
        "a whole mean image" if len(preprocess.mean) > preprocess.channels else "",
        "interpolation='nearest'" if preprocess.interpolation == "nearest" else "",
    ]
    if any(odd):
        raise UserError(
            f"No image processor of transformers can prepare this checkpoint's images: {', '.join(filter(None, odd))}. "
            "Write another format, or train with resize 'shorter' or 'stretch' on RGB images."
        )
    if preprocess.resize == "stretch":
        kind = "ViTImageProcessor"
        shape: dict[str, Any] = {"size": {"height": size[0], "width": size[1]}}
    elif preprocess.crop == "none":
        kind = "BitImageProcessor"
        shape = {"size": {"shortest_edge": preprocess.resize_to}, "do_center_crop": False}
    else:
        kind = "BitImageProcessor"
        crop = {"height": size[0], "width": size[1]}
        shape = {"size": {"shortest_edge": preprocess.resize_to}, "do_center_crop": True, "crop_size": crop}
    return {
        "image_processor_type": kind,
        "do_convert_rgb": True,
        "do_resize": True,
        **shape,
        "resample": {name: number for number, name in METHODS.items()}[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / scale,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def remarks(preprocess: Preprocess) -> list[str]:
    """In what transformers prepares an image otherwise than we do, a sentence each."""
    if preprocess.resize != "shorter" or preprocess.crop == "none":
        return []
    always = any((int(preprocess.resize_to or 0) - side) % 4 == 3 for side in preprocess.size)
    which = "every image" if always else "images where an odd number of rows or columns is cut"
    return [
        f"transformers crops {which} up to one pixel nearer to the upper left corner than torchvision and resnets do"
    ]


def cropped(preprocess: Preprocess) -> Callable[[Path], Tensor]:
    """Our way from an image file to the tensor (C, h, w), but with transformers' crop; see `remarks`."""
    whole = replace(preprocess, crop="none")
    height, width = preprocess.size

    def prepare(file: Path) -> Tensor:
        image = whole.load(file)
        top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        return image[..., top : top + height, left : left + width]

    return prepare


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the folder that `from_pretrained` reads, and return the class that does so: `ResNetForImageClassification`, or
    `ResNetModel` without `top`. The temperature is folded into the classifier, BGR into the first convolution."""
    folder = Path(path)
    if folder.suffix.lower() in FILES or folder.is_file():
        raise UserError(f"A model of Hugging Face is a folder; received '{path}'. Name a folder.")
    described = config(checkpoint.spec, checkpoint.classes, top=top)
    said = fold_temperature.metadata(checkpoint, top=top)
    folded = fold_temperature.in_rgb(fold_temperature.with_temperature(checkpoint) if top else checkpoint)
    processor = processor_config(folded.preprocess)
    tensors = keymap(folded.spec, top=top).theirs(folded.tensors if top else torchvision.body(folded.tensors))
    name = str(described["architectures"][0])
    torchvision.save(folder / "model.safetensors", tensors, said)
    atomic_write.write_text(folder / "config.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    atomic_write.write_text(folder / PROCESSOR, json.dumps(processor, indent=2) + "\n")
    notes = (*fold_temperature.notes(checkpoint, "classifier.1" if top else ""), *remarks(folded.preprocess))
    card = model_card.text(
        checkpoint, library="transformers", name=name, usage=USAGE if top else USAGE_BODY, notes=notes
    )
    atomic_write.write_text(folder / model_card.FILE, card)
    return name


def carries(path: str | Path) -> frozenset[str]:
    """What a written folder has beside the tensors, of "classes", "preprocess" and "card"."""
    return frozenset({"classes", "preprocess", "card"})


def prepared(path: Path) -> Callable[[Path], Tensor]:
    """transformers' own way from an image file to the tensor (C, h, w), made of `preprocessor_config.json`.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers import AutoImageProcessor
    from transformers.image_utils import load_image

    processor = AutoImageProcessor.from_pretrained(path if path.is_dir() else path.parent)

    def prepare(file: Path) -> Tensor:
        image = load_image(str(file))
        return torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"][0])

    return prepare


def original(foreign: Foreign, spec: ResNetSpec) -> nn.Module:
    """transformers' own network with the tensors of the file, each used and none left over.

    Raises:
        UserError: transformers has no such network.
        ImportError: transformers is not installed.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    given = config(spec, tuple(str(i) for i in range(spec.num_classes)))
    with torch.device("meta"):
        net = ResNetForImageClassification(ResNetConfig(**given))
    return _Logits(torchvision.filled(net, foreign.tensors)).eval()


class _Logits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).logits
