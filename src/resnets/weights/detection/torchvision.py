"""torchvision's Faster R-CNN and Mask R-CNN: their names, in both spellings, and the detectors of resnets.

A file becomes a checkpoint of the task detection, whose config has the detector's settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models import zoo
from resnets.models.detection.prefixes import TORCHVISION
from resnets.models.detection.settings import DetectorSettings
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import DETECTION, Checkpoint
from resnets.weights.detection.checkpoint import detector_settings
from resnets.weights.formats import library_files, spec_from_shapes, torchvision
from resnets.weights.formats.keymap import COUNTER, Keymap, Rule, read_name, write_name

FORMAT = "torchvision_detector"  # in the catalog
BODY = "backbone.body."
RULES = (
    *(Rule(f"{BODY}{rule.external}", f"backbone.{rule.resnets}", rule.layout) for rule in torchvision.RULES),
    Rule("backbone.fpn.{...}", "neck.{...}"),
    Rule("rpn.{...}", "rpn.{...}"),
    Rule("roi_heads.{...}", "roi_heads.{...}"),
)
# Names before torchvision 0.12, which its published first versions still have, and those that torchvision reads them as.
RENAMED = (
    Rule("backbone.fpn.inner_blocks.{i}.weight", "backbone.fpn.inner_blocks.{i}.0.weight"),
    Rule("backbone.fpn.inner_blocks.{i}.bias", "backbone.fpn.inner_blocks.{i}.0.bias"),
    Rule("backbone.fpn.layer_blocks.{i}.weight", "backbone.fpn.layer_blocks.{i}.0.weight"),
    Rule("backbone.fpn.layer_blocks.{i}.bias", "backbone.fpn.layer_blocks.{i}.0.bias"),
    Rule("rpn.head.conv.weight", "rpn.head.conv.0.0.weight"),
    Rule("rpn.head.conv.bias", "rpn.head.conv.0.0.bias"),
    Rule("roi_heads.mask_head.mask_fcn{n+1}.{...}", "roi_heads.mask_head.{n}.0.{...}"),
)
SCORES = "roi_heads.box_predictor.cls_score.weight"
# The frozen norms of torchvision's first versions run with this eps if the weights are its own for COCO (`overwrite_eps`).
FROZEN_EPS = 0.0
PREPROCESS = Preprocess(size=(1333, 1333), resize="fit", resize_to=800, background=(0, 0, 0))


def recognizes(names: Sequence[str] | Mapping[str, Tensor]) -> bool:
    """Whether the names are those of one of torchvision's detectors with a feature pyramid."""
    return SCORES in names and any(name.startswith(f"{BODY}layer1.") for name in names)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of the present torchvision."""
    return {_present_name(name): tensor for name, tensor in tensors.items()}


def _present_name(name: str) -> str:
    for rule in RENAMED:
        if (values := read_name(rule.external, name)) is not None:
            return write_name(rule.resnets, values)
    return name


def keymap(settings: DetectorSettings, spec: ResNetSpec, num_classes: int) -> Keymap:
    """The names of torchvision, of the present spelling, and of resnets."""
    from resnets.models.detection.build import build_detector  # here, since it imports all of torchvision

    with torch.device("meta"):
        expected = build_detector(settings, spec, num_classes).state_dict()
    return Keymap(RULES, expected)


def detector_of(tensors: Mapping[str, Tensor]) -> tuple[str, ResNetSpec, int]:
    """torchvision's function on ResNet-50 that has these heads, the backbone, and the number of classes without the background.

    Args:
        tensors: by their present names.

    Raises:
        UserError: the backbone is none of torchvision's.
    """
    architecture = "maskrcnn" if "roi_heads.mask_predictor.mask_fcn_logits.weight" in tensors else "fasterrcnn"
    second = "_v2" if "rpn.head.conv.1.0.weight" in tensors else ""
    body = {name.removeprefix(BODY): tensor.shape for name, tensor in tensors.items() if name.startswith(BODY)}
    for model in torchvision.NAMES:
        spec = zoo.get_spec(model)
        pairs = torchvision.keymap(spec, top=False)
        shapes = {pairs.pairs[name][0]: tensor.shape for name, tensor in pairs.expected_tensors.items()}
        if {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)} == {
            name: shape for name, shape in body.items() if not name.endswith(COUNTER)
        }:
            frozen = not any(name.startswith(BODY) and name.endswith(COUNTER) for name in tensors)
            spec = dataclasses.replace(spec, norm_eps=FROZEN_EPS) if frozen else spec
            return f"{architecture}_resnet50_fpn{second}", spec, len(tensors[SCORES]) - 1
    raise UserError("The backbone of this detector is none of torchvision's.")


def to_checkpoint(
    tensors: Mapping[str, Tensor], class_names: Sequence[str] = (), norm_eps: float | None = None
) -> Checkpoint:
    """The tensors of a file of torchvision's as a checkpoint of the task detection.

    Args:
        norm_eps: of the backbone; None: `FROZEN_EPS` for frozen norms, else torchvision's.

    Raises:
        UserError: tensors are missing, left over or of another shape, or the names do not fit the number of classes.
    """
    tensors = renamed(tensors)
    name, spec, num_classes = detector_of(tensors)
    settings = TORCHVISION[name]
    if norm_eps is not None:
        spec = zoo.get_spec(spec.name, norm_eps=norm_eps)
    if class_names and len(class_names) != num_classes:
        raise UserError(f"{len(class_names)} class names do not fit a detector of {num_classes} classes.")
    found = keymap(settings, spec, num_classes).to_resnets(tensors)
    return Checkpoint(
        spec=spec,
        preprocess=PREPROCESS,
        class_names=tuple(class_names) or default_class_names(num_classes),
        tensors={key: each.float() if each.is_floating_point() else each for key, each in found.items()},
        task=DETECTION,
        config={**dataclasses.asdict(settings), "shorter_side": PREPROCESS.resize_to},
    )


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """COCO's for 90 classes, of which ten have no name and no image; else "class 1", "class 2", …"""
    if num_classes != 90:
        return tuple(f"class {i}" for i in range(1, num_classes + 1))
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names: list[str] = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(f"unused {i}" if name == "N/A" else name for i, name in enumerate(names) if i)


def write(path: str | Path, checkpoint: Checkpoint) -> str:
    """Write the state_dict, and return torchvision's name of the detector that loads it.

    Raises:
        UserError: torchvision has no such detector.
    """
    settings = detector_settings(checkpoint)
    name = architecture(settings, checkpoint.spec)
    names = keymap(settings, checkpoint.spec, len(checkpoint.class_names))
    library_files.save(path, names.from_resnets(checkpoint.tensors), {})
    return name


# Settings that decide the tensors or what they mean; all others are arguments of torchvision's classes.
STRUCTURE = (
    "architecture", "layout", "neck_channels", "head_norm", "rpn_convs", "anchor_sizes", "anchor_ratios", "pool_size", "aligned",
    "box_head_convs", "box_head_dim", "mask_channels",
)  # fmt: skip


def architecture(settings: DetectorSettings, spec: ResNetSpec) -> str:
    """torchvision's name of a detector of this structure on ResNet-50.

    Raises:
        UserError: it has none.
    """
    plain = dataclasses.replace(spec, norm_eps=zoo.get_spec("resnet50").norm_eps)
    if spec_from_shapes.computes_the_same(plain, zoo.get_spec("resnet50")):
        for name, known in TORCHVISION.items():
            if all(getattr(settings, key) == getattr(known, key) for key in STRUCTURE):
                return name
    raise UserError(
        f"torchvision has no function for a {settings.architecture} with these settings on '{spec.name}'; it has "
        f"{', '.join(TORCHVISION)}."
    )


def reference_model(tensors: Mapping[str, Tensor], norm_eps: float) -> nn.Module:
    """torchvision's own detector with all tensors of a file, loaded strictly.

    Its norms are not frozen, which is the same function in eval mode.
    """
    import torchvision.models as library
    from torchvision.models.detection.backbone_utils import BackboneWithFPN

    name, spec, num_classes = detector_of(renamed(tensors))
    with torch.device("meta"):
        net = getattr(library.detection, name)(weights=None, weights_backbone=None, num_classes=num_classes + 1)
        body = getattr(library, spec.name)()
        levels = {f"layer{number}": str(number - 1) for number in (1, 2, 3, 4)}
        norm = nn.BatchNorm2d if name.endswith("_v2") else None
        channels = list(spec.out_channels)
        net.backbone = BackboneWithFPN(body, levels, channels, net.backbone.out_channels, norm_layer=norm)
    for module in net.backbone.body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = norm_eps
    return library_files.load_strictly(net, renamed(tensors))
