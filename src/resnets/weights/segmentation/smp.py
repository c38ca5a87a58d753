"""segmentation_models_pytorch (smp): names of its Unet, PSPNet, DeepLabV3, DeepLabV3+ and UPerNet on torchvision's networks.

Read from version 0.6.0. Its files show neither the stride of a dilated encoder nor the dilation of DeepLab's convolutions: they
are assumed to be the library's defaults. smp dilates the convolutions that had a stride, too, and aligns corners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import library_files, torchvision
from resnets.weights.formats.keymap import Rule
from resnets.weights.segmentation import library_segmenter
from resnets.weights.segmentation.checkpoint import segmenter_settings
from resnets.weights.segmentation.library_segmenter import LibrarySegmenter

FORMAT = "smp"
LIBRARY = "segmentation_models_pytorch"
DISTRIBUTION = "segmentation-models-pytorch"  # on PyPI
BODY = "encoder."
LOGITS = "segmentation_head.0.weight"
PREPROCESS = Preprocess(resize="none", crop="none")  # images in their own size, with ImageNet's mean and deviation


def _conv_norm(external: str, own: str) -> tuple[Rule, Rule]:
    """Of a convolution and its norm in an nn.Sequential."""
    return (Rule(f"{external}0.{{...}}", f"{own}conv.{{...}}"), Rule(f"{external}1.{{...}}", f"{own}norm.{{...}}"))


def _separable(external: str, own: str) -> tuple[Rule, Rule]:
    return (
        Rule(f"{external}0.{{...}}", f"{own}conv.depthwise.{{...}}"),
        Rule(f"{external}1.{{...}}", f"{own}conv.pointwise.{{...}}"),
    )


def _aspp(external: str) -> tuple[Rule, ...]:
    own = "decoder.aspp."
    return (
        *_separable(f"{external}convs.{{i}}.0.", f"{own}convs.{{i}}."),
        *_conv_norm(f"{external}convs.{{i}}.", f"{own}convs.{{i}}."),
        Rule(f"{external}convs.4.1.{{...}}", f"{own}average.conv.{{...}}"),
        Rule(f"{external}convs.4.2.{{...}}", f"{own}average.norm.{{...}}"),
        *_conv_norm(f"{external}project.", f"{own}project."),
    )


_SHARED = (
    *(Rule(f"{BODY}{rule.external}", f"backbone.{rule.resnets}", rule.layout) for rule in torchvision.RULES),
    Rule("segmentation_head.0.{...}", "head.{...}"),
)
RULES = {
    "unet": (*_SHARED, *_conv_norm("decoder.blocks.{i}.conv{n}.", "decoder.blocks.{i}.conv{n}.")),
    "pspnet": (
        *_SHARED,
        *_conv_norm("decoder.psp.blocks.{i}.pool.1.", "decoder.pyramid.pools.{i}.reduce."),
        *_conv_norm("decoder.conv.", "decoder.join."),
    ),
    "deeplabv3": (
        *_SHARED,
        *_aspp("decoder.aspp."),
        Rule("decoder.conv.{...}", "decoder.conv.conv.{...}"),
        Rule("decoder.bn.{...}", "decoder.conv.norm.{...}"),
    ),
    "deeplabv3plus": (
        *_SHARED,
        *_aspp("decoder.aspp.0."),
        *_separable("decoder.aspp.1.", "decoder.conv."),
        Rule("decoder.aspp.2.{...}", "decoder.conv.norm.{...}"),
        *_conv_norm("decoder.block1.", "decoder.skip."),
        *_separable("decoder.block2.0.", "decoder.join."),
        Rule("decoder.block2.1.{...}", "decoder.join.norm.{...}"),
    ),
    "upernet": (
        *_SHARED,
        Rule("decoder.feature_norms.{i}.{...}", "decoder.norms.{i}.{...}"),
        *_conv_norm("decoder.psp.blocks.{i}.1.", "decoder.pyramid.pools.{i}.reduce."),
        *_conv_norm("decoder.psp.out_conv.", "decoder.bottleneck."),
        *_conv_norm("decoder.fpn_lateral_blocks.{i}.conv_norm_relu.", "decoder.lateral.{i}."),
        *_conv_norm("decoder.fpn_conv_blocks.{i}.", "decoder.smooth.{i}."),
        *_conv_norm("decoder.fusion_block.", "decoder.join."),
    ),
}
# By a tensor that only files of this architecture have.
_MARKS = {
    "decoder.block1.0.weight": "deeplabv3plus",
    "decoder.aspp.project.0.weight": "deeplabv3",
    "decoder.fusion_block.0.weight": "upernet",
    "decoder.psp.blocks.0.pool.1.0.weight": "pspnet",
    "decoder.blocks.0.conv1.0.weight": "unet",
}
CLASSES = {
    "unet": "Unet", "pspnet": "PSPNet", "deeplabv3": "DeepLabV3", "deeplabv3plus": "DeepLabV3Plus", "upernet": "UPerNet",
}  # fmt: skip
# Before version 0.4 the decoder of DeepLabV3 was an nn.Sequential.
RENAMED = {"decoder.0.": "decoder.aspp.", "decoder.1.": "decoder.conv.", "decoder.2.": "decoder.bn."}


def recognizes(names: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of one of smp's segmenters on a ResNet."""
    return LOGITS in names and any(name.startswith(f"{BODY}layer1.") for name in names)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of the present version."""
    if "decoder.0.project.0.weight" not in tensors:
        return dict(tensors)
    return {_present_name(name): tensor for name, tensor in tensors.items()}


def _present_name(name: str) -> str:
    old = next((old for old in RENAMED if name.startswith(old)), None)
    return name if old is None else RENAMED[old] + name.removeprefix(old)


def find(tensors: Mapping[str, Tensor]) -> LibrarySegmenter:
    """The segmenter that has these tensors, with smp's defaults for what they do not show.

    Args:
        tensors: by their present names.

    Raises:
        UserError: the decoder or the encoder is another one.
    """
    architecture = next((name for mark, name in _MARKS.items() if mark in tensors), None)
    if architecture is None:
        raise UserError(f"The decoder of this model is none of smp's {', '.join(CLASSES.values())}.")
    spec = library_segmenter.backbone_of(tensors, BODY)
    own = _SETTINGS[architecture](tensors, spec)
    settings = SegmenterSettings(architecture, **own)
    return LibrarySegmenter(settings, spec, len(tensors[LOGITS]), RULES[architecture])


def _width(tensors: Mapping[str, Tensor], name: str) -> int:
    return len(tensors[name]) if name in tensors else 1


def _unet(tensors: Mapping[str, Tensor], spec: ResNetSpec) -> dict[str, Any]:
    return {"unet_channels": tuple(_width(tensors, f"decoder.blocks.{i}.conv1.0.weight") for i in range(5))}


def _pspnet(tensors: Mapping[str, Tensor], spec: ResNetSpec) -> dict[str, Any]:
    """smp's default encoder stops at stride 8; the pooled map tells which stage is the last."""
    channels = tensors["decoder.psp.blocks.0.pool.1.0.weight"].shape[1]
    stages = spec.out_channels.index(channels) + 1 if channels in spec.out_channels else 0
    return {
        "num_stages": 0 if stages == len(spec.out_channels) else stages,
        "decoder_channels": _width(tensors, "decoder.conv.0.weight"),
        "pool_norm": "decoder.psp.blocks.0.pool.1.1.weight" in tensors,
        "align_corners": True,
        "dropout": 0.2,
    }


def _deeplab(tensors: Mapping[str, Tensor], spec: ResNetSpec) -> dict[str, Any]:
    plus = "decoder.block1.0.weight" in tensors
    aspp = "decoder.aspp.0." if plus else "decoder.aspp."
    return {
        "output_stride": 16 if plus else 8,
        "dilation": "all",
        "decoder_channels": _width(tensors, f"{aspp}project.0.weight"),
        "atrous_rates": (12, 24, 36),
        "separable": f"{aspp}convs.1.0.0.weight" in tensors,
        "align_corners": True,
        "dropout": 0.5,
    }


def _upernet(tensors: Mapping[str, Tensor], spec: ResNetSpec) -> dict[str, Any]:
    return {
        "decoder_channels": _width(tensors, "decoder.fusion_block.0.weight"),
        "map_norm": any(name.startswith("decoder.feature_norms.") for name in tensors),
        "align_corners": True,
    }


_SETTINGS: dict[str, Callable[[Mapping[str, Tensor], ResNetSpec], dict[str, Any]]] = {
    "unet": _unet, "pspnet": _pspnet, "deeplabv3": _deeplab, "deeplabv3plus": _deeplab, "upernet": _upernet,
}  # fmt: skip


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """Numbers: a file has no names."""
    return library_segmenter.numbered_class_names(num_classes)


def assumptions(found: LibrarySegmenter) -> list[str]:
    """What the tensors do not show."""
    settings, notes = (
        found.settings,
        ["images in their own size, normalized as for ImageNet; no activation behind the logits"],
    )
    if settings.architecture == "unet":
        notes.append('decoder_interpolation="nearest", which is the default; no other one is supported')
    if settings.architecture in ("deeplabv3", "deeplabv3plus"):
        rates = ", ".join(map(str, settings.atrous_rates))
        notes.append(
            f"encoder_output_stride={settings.output_stride} and decoder_atrous_rates=({rates}); `settings` with output_stride "
            "and atrous_rates gives others"
        )
    return notes


def write(path: str | Path, checkpoint: Checkpoint) -> str:
    """Write the state_dict, and return smp's class that loads it, with its arguments.

    Raises:
        UserError: smp has no such segmenter.
    """
    settings = segmenter_settings(checkpoint)
    arguments = ", ".join(f"{key}={value!r}" for key, value in constructor(settings, checkpoint.spec).items())
    found = LibrarySegmenter(settings, checkpoint.spec, len(checkpoint.class_names), RULES[settings.architecture])
    library_files.save(path, found.keymap.from_resnets(checkpoint.tensors), {})
    return f"{CLASSES[settings.architecture]}({arguments}, classes={found.num_classes})"


# Of each architecture: what smp's segmenter always is.
_ALWAYS: dict[str, dict[str, Any]] = {
    "unet": {"output_stride": 0, "num_stages": 0},
    "pspnet": {"output_stride": 0, "pool_norm": False, "align_corners": True},
    "deeplabv3": {"num_stages": 0, "dilation": "all", "align_corners": True},
    "deeplabv3plus": {"num_stages": 0, "dilation": "all", "align_corners": True},
    "upernet": {"output_stride": 0, "num_stages": 0, "map_norm": True, "align_corners": True},
}


def constructor(settings: SegmenterSettings, spec: ResNetSpec) -> dict[str, Any]:
    """The arguments of smp's class for a segmenter of this structure, without the number of classes.

    Raises:
        UserError: smp has none.
    """
    architecture, width = settings.architecture, settings.decoder_channels
    if architecture not in CLASSES:
        raise UserError(f"segmentation_models_pytorch has no '{architecture}' as here; it has {', '.join(CLASSES)}.")
    needed = {**_ALWAYS[architecture], "aux": False}
    if different := {key: value for key, value in needed.items() if getattr(settings, key) != value}:
        values = ", ".join(f"{key}={value!r}" for key, value in different.items())
        raise UserError(f"The {CLASSES[architecture]} of segmentation_models_pytorch has {values}; this one has not.")
    network = torchvision.architecture(dataclasses.replace(spec, num_classes=1000, in_channels=3))
    arguments: dict[str, Any] = {"encoder_name": network, "encoder_weights": None, "in_channels": spec.in_channels}
    if architecture == "unet":
        arguments["decoder_channels"] = settings.unet_channels
    elif architecture == "pspnet":
        depth = 1 + (settings.num_stages or len(spec.num_blocks))
        arguments |= {"encoder_depth": depth, "psp_out_channels": width, "upsampling": 2**depth}
    else:
        arguments["decoder_channels"] = width
    if architecture in ("deeplabv3", "deeplabv3plus"):
        arguments |= {
            "encoder_output_stride": settings.output_stride, "decoder_atrous_rates": settings.atrous_rates,
            "decoder_aspp_separable": settings.separable,
        }  # fmt: skip
    return arguments


def reference_model(tensors: Mapping[str, Tensor], found: LibrarySegmenter) -> Callable[[Tensor], Tensor]:
    """smp's own segmenter with all tensors of a file, loaded strictly: images to logits.

    Raises:
        UserError: smp has no such segmenter.
    """
    import segmentation_models_pytorch as library

    arguments = constructor(found.settings, found.spec)
    with torch.device("meta"):
        net: nn.Module = getattr(library, CLASSES[found.settings.architecture])(**arguments, classes=found.num_classes)
    return library_files.load_strictly(net, renamed(tensors))
