"""timm format: names of a ResNet's tensors (timm/models/resnet.py and resnetv2.py), torchvision's and more; and the folder.

A folder has `model.safetensors` and `config.json`, with the name of the network, the classes and the preprocessing
(timm/models/_hub.py); README.md is the model card.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from resnets import atomic_write
from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_into_tensors, library_files, model_card, spec_from_shapes, torchvision
from resnets.weights.formats.candidate import ASSUMED, Candidate
from resnets.weights.formats.keymap import Keymap, Rule, backbone_tensors, expected_tensors
from resnets.weights.formats.timm_config import FILES, LAST, config, preprocessor, reference_transform, remarks
from resnets.weights.formats.torchvision import BLOCK, DEEP, POOLED, SQUEEZE_EXCITE
from resnets.weights.readers.read_any import WeightsFile

__all__ = ["reference_transform"]

PREACTIVATION = (
    Rule("stem.{...}", "stem.{...}"),
    Rule("stages.{s-1}.blocks.{b}.norm1.{...}", f"{BLOCK}.norm.{{...}}"),
    Rule("stages.{s-1}.blocks.{b}.downsample.{...}", f"{BLOCK}.shortcut.{{...}}"),
    Rule("stages.{s-1}.blocks.{b}.{...}", f"{BLOCK}.branch.{{...}}"),
    Rule("norm.{...}", "final.norm.{...}"),
    Rule("head.fc.weight", "head.fc.weight", "pointwise"),
    Rule("head.fc.bias", "head.fc.bias"),
)
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
# timm's name -> the name in the zoo, and the fields in which timm's network differs.
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
    """The names of timm and of resnets for the tensors of this network; without `top`, of all but its head."""
    rules = (*DEEP, *SQUEEZE_EXCITE, *(POOLED if spec.shortcut == "D" else ()), *torchvision.RULES)
    return Keymap(PREACTIVATION if spec.preactivation else rules, expected_tensors(spec, top=top))


def spec_of(name: str) -> ResNetSpec:
    """The specification of timm's network `name`."""
    zoo_name, changes = NAMES[name]
    return zoo.get_spec(zoo_name, **changes)  # type: ignore[arg-type]


def architecture(spec: ResNetSpec) -> str:
    """timm's name of a network that computes what this one does.

    Raises:
        UserError: timm has none.
    """
    for name in NAMES:
        if spec_from_shapes.computes_the_same(spec, spec_of(name)):
            return name
    raise UserError(f"timm has no network that computes what '{spec.name}' does; it has {', '.join(NAMES)}.")


def candidates(weights_file: WeightsFile) -> list[Candidate]:
    """The networks that the tensors fit; empty if the names are not timm's."""
    if "stages.0.blocks.0.conv1.weight" in weights_file.tensors:
        return _preactivation(weights_file)
    seen = torchvision.observe(weights_file.tensors)
    if seen is None:
        return []
    own = seen["attention"] == "se" or seen["stem"] == "deep" or seen["shortcut"] == "D"
    if not own and weights_file.container != "safetensors":
        return []
    # All such networks of timm have the stride in the 3x3; torchvision's names are used by others, too.
    specs = spec_from_shapes.matching_specs(seen, {"stride_at": "3x3"} if own or _named(weights_file) else None)
    reason = "the names are torchvision's and timm's alike, and safetensors is what timm writes"
    if own:
        reason = "layer1.0.se, conv1.0 or downsample.2 are timm's names"
    if _named(weights_file):
        reason = f"config.json calls it timm's {_named(weights_file)}"
    reasons = (reason, *spec_from_shapes.reasons_for(seen))
    from_config = preprocessor(Path(weights_file.path))
    preprocess, assumed = (from_config, ()) if from_config else (Preprocess.imagenet(), ASSUMED)
    return [Candidate(spec, "timm", reasons, spec_from_shapes.doubts(specs), preprocess, assumed) for spec in specs]


def _named(weights_file: WeightsFile) -> str | None:
    """The name of timm's network in the folder's `config.json`."""
    config_values = weights_file.attributes.get("config")
    name = config_values.get("architecture") if isinstance(config_values, Mapping) else None
    return name if isinstance(name, str) and name in NAMES else None


def class_names(weights_file: WeightsFile) -> tuple[str, ...]:
    """The class names in `config.json`, or () if it has none."""
    config_values = weights_file.attributes.get("config")
    names = config_values.get("label_names") if isinstance(config_values, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        return ()
    return tuple(names)


def _preactivation(weights_file: WeightsFile) -> list[Candidate]:
    tensors = weights_file.tensors
    num_blocks = spec_from_shapes.num_blocks(list(tensors), "stages.{s}.blocks.{b}.conv1.weight")
    deep = "stem.conv1.weight" in tensors
    inputs = spec_from_shapes.convolution(tensors, "stem.conv1.weight" if deep else "stem.conv.weight")[1]
    first = spec_from_shapes.convolution(tensors, "stages.0.blocks.0.conv3.weight")[0]
    head = tensors.get("head.fc.weight")
    for name in NAMES:
        spec = spec_of(name)
        if not spec.preactivation or (spec.num_blocks, spec.stem == "deep", spec.out_channels[0]) != (
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
            "timm's stride is in the 3x3 of a stage's first block, and its stem has no norm of its own",
            "no head" if head is None else f"a head of {num_classes} classes",
        )
        assumed: tuple[str, ...] = ("images are RGB with mean and standard deviation of 0.5 (`preprocess` changes it)",)
        half = replace(Preprocess.imagenet(), mean=(0.5,) * 3, std=(0.5,) * 3)
        from_config = preprocessor(Path(weights_file.path))
        spec = replace(spec, num_classes=num_classes, in_channels=inputs)
        return [Candidate(spec, "timm", reasons, (), from_config or half, () if from_config else assumed)]
    return []


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the folder that `timm.create_model("local-dir:...")` opens or, where `path` ends in one of `FILES`, the tensors
    alone; return timm's name of the network. The temperature is folded into the last layer, BGR into the first of a folder.

    Raises:
        UserError: timm has no such network, or, for a folder, cannot preprocess images as the checkpoint needs.
    """
    name = architecture(checkpoint.spec)
    metadata = fold_into_tensors.metadata(checkpoint, top=top)
    folded = fold_into_tensors.with_temperature(checkpoint) if top else checkpoint
    single = is_file(path)
    if not single:
        folded = fold_into_tensors.in_rgb(folded)
    tensors = keymap(folded.spec, top=top).from_resnets(folded.tensors if top else backbone_tensors(folded.tensors))
    if single:
        library_files.save(path, tensors, metadata)
        return name
    folder = Path(path)
    if folder.is_file():
        raise UserError(f"'{folder}' is a file; name a folder, or a file that ends in {', '.join(FILES)}.")
    described = config(folded, name, top=top)
    library_files.save(folder / "model.safetensors", tensors, metadata)
    atomic_write.write_text(folder / "config.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    last = LAST[folded.spec.preactivation] if top else ""
    notes = (*fold_into_tensors.notes(checkpoint, last), *remarks(folded.preprocess))
    card = model_card.text(checkpoint, library="timm", name=name, usage=USAGE, notes=notes)
    atomic_write.write_text(folder / model_card.FILE, card)
    return name


def is_file(path: str | Path) -> bool:
    """Whether `write` writes a single file to this path, not a folder."""
    return Path(path).suffix.lower() in (*FILES, *library_files.OTHER_SUFFIXES)


def extra_contents(path: str | Path) -> frozenset[str]:
    """What `write` includes besides the tensors, of "class_names", "preprocess" and "card"."""
    return frozenset() if is_file(path) else frozenset({"class_names", "preprocess", "card"})


def reference_model(weights_file: WeightsFile, spec: ResNetSpec) -> nn.Module:
    """timm's own network with all tensors of the file, loaded strictly.

    Raises:
        UserError: timm has no such network.
        ImportError: timm is not installed.
    """
    import timm

    with torch.device("meta"):
        net = timm.create_model(architecture(spec), num_classes=spec.num_classes, in_chans=spec.in_channels)
    return library_files.load_strictly(net, weights_file.tensors)
