"""Hugging Face format: transformers' names of a ResNet's tensors (models/resnet/modeling_resnet.py), and the folder.

A folder has `model.safetensors` and `config.json`, which states what shapes do not show: `downsample_in_bottleneck` puts the
stride in the first 1x1. `preprocessor_config.json` describes the preprocessing, and README.md is the model card.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets import atomic_write
from resnets.errors import UserError
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import fold_into_tensors, library_files, model_card, spec_from_shapes
from resnets.weights.formats.candidate import ASSUMED, Candidate
from resnets.weights.formats.huggingface_preprocess import (
    PROCESSOR,
    preprocessor,
    processor_config,
    reference_transform,
    remarks,
    transform_with_library_crop,
)
from resnets.weights.formats.keymap import Keymap, Rule, backbone_tensors, expected_tensors
from resnets.weights.readers.read_any import WeightsFile

__all__ = ["reference_transform", "transform_with_library_crop"]

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
FILES = (".safetensors", ".bin", ".pth", ".pt", *library_files.OTHER_SUFFIXES)  # a folder has no such suffix
USAGE = """
from transformers import pipeline

classify = pipeline("image-classification", model="FOLDER")
print(classify("image.jpg"))
"""
USAGE_BODY = """
from transformers import AutoImageProcessor, AutoModel

processor, model = AutoImageProcessor.from_pretrained("FOLDER"), AutoModel.from_pretrained("FOLDER")
"""


def keymap(spec: ResNetSpec, *, top: bool = True) -> Keymap:
    """The names of transformers and of resnets for the tensors of this network; without `top`, of all but its head
    (transformers' `ResNetModel`)."""
    bare = [Rule(rule.external.removeprefix("resnet."), rule.resnets) for rule in RULES]
    return Keymap(RULES if top else bare, expected_tensors(spec, top=top))


def config(spec: ResNetSpec, class_names: tuple[str, ...], *, top: bool = True) -> dict[str, Any]:
    """The content of `config.json` for this network.

    Raises:
        UserError: transformers' `ResNetForImageClassification` cannot compute what this network does.
    """
    bottleneck = spec.branch == "bottleneck"
    plain = ResNetSpec(
        spec.name, stem_channels=spec.stem_channels, num_blocks=spec.num_blocks, out_channels=spec.out_channels,
        branch=spec.branch, mid_channels=tuple(n // 4 for n in spec.out_channels) if bottleneck else (), stride_at=spec.stride_at,
        strides=(spec.strides[0], *(2,) * (len(spec.num_blocks) - 1)),
    )  # fmt: skip
    if not spec_from_shapes.computes_the_same(spec, plain) or spec.strides[0] > 2:
        raise UserError(f"Hugging Face's ResNet cannot compute what '{spec.name}' does: it has basic blocks or bottlenecks "
                        "of a quarter of the channels, a 7x7 stem and projections of option B.")  # fmt: skip
    names = class_names or [f"LABEL_{number}" for number in range(spec.num_classes)]
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


def candidates(weights_file: WeightsFile) -> list[Candidate]:
    """The networks that the tensors fit; empty if the names are not those of transformers' ResNet."""
    tensors = {
        name if name.startswith(("resnet.", "classifier.")) else f"resnet.{name}": tensor
        for name, tensor in weights_file.tensors.items()
    }
    seen = spec_from_shapes.observe(tensors, RULES)
    if seen is None or seen["stem"] != "imagenet":
        return []
    return _with_config(weights_file, seen)


def _with_config(weights_file: WeightsFile, seen: Mapping[str, Any]) -> list[Candidate]:
    reasons = ["the names resnet.encoder.stages and embedder are those of transformers"]
    reasons += spec_from_shapes.reasons_for(seen)
    config_values = weights_file.attributes.get("config")
    preprocess = preprocessor(Path(weights_file.path))
    known = isinstance(config_values, Mapping)
    if not isinstance(config_values, Mapping):
        config_values = {}
    if config_values.get("hidden_act", "relu") != "relu":
        raise UserError(
            f"'{weights_file.path}' has the activation '{config_values['hidden_act']}'; the networks of resnets have ReLU."
        )
    fixed: dict[str, Any] = {}
    if known and seen["branch"] == "bottleneck":
        first = bool(config_values.get("downsample_in_bottleneck", False))
        fixed["stride_at"] = "1x1" if first else "3x3"
        reasons.append(f"config.json says downsample_in_bottleneck {first}: the stride in the {fixed['stride_at']}")
    specs = spec_from_shapes.matching_specs(seen, fixed)
    if config_values.get("downsample_in_first_stage", False):
        reasons.append("config.json says downsample_in_first_stage")
        specs = [replace(spec, strides=(2, *spec.strides[1:])) for spec in specs]
    rest = (tuple(reasons), spec_from_shapes.doubts(specs), preprocess, () if preprocess else ASSUMED)
    return [Candidate(spec, "huggingface", *rest) for spec in specs]


def class_names(weights_file: WeightsFile) -> tuple[str, ...]:
    """The class names in `config.json`, or () if it has none for the indices from 0 without gaps."""
    config_values = weights_file.attributes.get("config")
    labels = config_values.get("id2label") if isinstance(config_values, Mapping) else None
    if not isinstance(labels, Mapping):
        return ()
    names = [labels.get(str(i)) for i in range(len(labels))]
    if not all(isinstance(name, str) and name for name in names) or placeholders(names):
        return ()
    return tuple(map(str, names))


def placeholders(names: Sequence[Any]) -> bool:
    """Whether these are the placeholders of transformers for missing names: LABEL_0, LABEL_1, …"""
    return all(name == f"LABEL_{number}" for number, name in enumerate(names))


def write(path: str | Path, checkpoint: Checkpoint, *, top: bool = True) -> str:
    """Write the folder that `from_pretrained` reads, and return the class that does so: `ResNetForImageClassification`, or
    `ResNetModel` without `top`. The temperature is folded into the classifier, BGR into the first convolution."""
    folder = Path(path)
    if folder.suffix.lower() in FILES or folder.is_file():
        raise UserError(f"A model of Hugging Face is a folder; received '{path}'. Name a folder.")
    described = config(checkpoint.spec, checkpoint.class_names, top=top)
    metadata = fold_into_tensors.metadata(checkpoint, top=top)
    folded = fold_into_tensors.in_rgb(fold_into_tensors.with_temperature(checkpoint) if top else checkpoint)
    processor = processor_config(folded.preprocess)
    tensors = keymap(folded.spec, top=top).from_resnets(folded.tensors if top else backbone_tensors(folded.tensors))
    name = str(described["architectures"][0])
    library_files.save(folder / "model.safetensors", tensors, metadata)
    atomic_write.write_text(folder / "config.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    atomic_write.write_text(folder / PROCESSOR, json.dumps(processor, indent=2) + "\n")
    notes = (*fold_into_tensors.notes(checkpoint, "classifier.1" if top else ""), *remarks(folded.preprocess))
    usage = USAGE if top else USAGE_BODY
    card = model_card.text(checkpoint, library="transformers", name=name, usage=usage, notes=notes)
    atomic_write.write_text(folder / model_card.FILE, card)
    return name


def extra_contents(path: str | Path) -> frozenset[str]:
    """What a written folder includes besides the tensors, of "class_names", "preprocess" and "card"."""
    return frozenset({"class_names", "preprocess", "card"})


def reference_model(weights_file: WeightsFile, spec: ResNetSpec) -> nn.Module:
    """transformers' own network with all tensors of the file, loaded strictly.

    Raises:
        UserError: transformers has no such network.
        ImportError: transformers is not installed.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    config_values = config(spec, tuple(str(i) for i in range(spec.num_classes)))
    with torch.device("meta"):
        net = ResNetForImageClassification(ResNetConfig(**config_values))
    return _Logits(library_files.load_strictly(net, weights_file.tensors)).eval()


class _Logits(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).logits
