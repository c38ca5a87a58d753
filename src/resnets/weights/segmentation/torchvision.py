"""torchvision's FCN and DeepLabV3: their names, and the segmenters of resnets.

torchvision 0.29, models/segmentation. A file becomes a checkpoint of the task segmentation, whose config has the settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import UserError
from resnets.models.segmentation.prefixes import PREFIXES
from resnets.models.segmentation.settings import SegmenterSettings
from resnets.models.spec import ResNetSpec
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import library_files, torchvision
from resnets.weights.formats.keymap import Rule
from resnets.weights.segmentation import library_segmenter
from resnets.weights.segmentation.checkpoint import segmenter_settings
from resnets.weights.segmentation.library_segmenter import LibrarySegmenter

FORMAT = "torchvision_segmenter"  # in the catalog
LIBRARY = "torchvision"
DISTRIBUTION = "torchvision"  # on PyPI
BODY = "backbone."
_SHARED = (
    *(Rule(f"{BODY}{rule.external}", f"backbone.{rule.resnets}", rule.layout) for rule in torchvision.RULES),
    Rule("aux_classifier.0.{...}", "aux_head.conv.conv.{...}"),
    Rule("aux_classifier.1.{...}", "aux_head.conv.norm.{...}"),
    Rule("aux_classifier.4.{...}", "aux_head.fc.{...}"),
    Rule("classifier.4.{...}", "head.{...}"),
)
RULES = {
    "fcn": (
        *_SHARED,
        Rule("classifier.0.{...}", "decoder.conv.conv.{...}"),
        Rule("classifier.1.{...}", "decoder.conv.norm.{...}"),
    ),
    "deeplabv3": (
        *_SHARED,
        Rule("classifier.0.convs.{i}.0.{...}", "decoder.aspp.convs.{i}.conv.{...}"),
        Rule("classifier.0.convs.{i}.1.{...}", "decoder.aspp.convs.{i}.norm.{...}"),
        Rule("classifier.0.convs.4.1.{...}", "decoder.aspp.average.conv.{...}"),
        Rule("classifier.0.convs.4.2.{...}", "decoder.aspp.average.norm.{...}"),
        Rule("classifier.0.project.0.{...}", "decoder.aspp.project.conv.{...}"),
        Rule("classifier.0.project.1.{...}", "decoder.aspp.project.norm.{...}"),
        Rule("classifier.1.{...}", "decoder.conv.conv.{...}"),
        Rule("classifier.2.{...}", "decoder.conv.norm.{...}"),
    ),
}
LOGITS = "classifier.4.weight"
# torchvision's transforms resize the shorter side to 520 and have no limit for the longer one.
PREPROCESS = Preprocess(size=(2080, 2080), resize="fit", resize_to=520, background=(0, 0, 0))
NETWORKS = ("resnet50", "resnet101")  # that it has functions for
# That decide the tensors or what they mean; the others are of training.
STRUCTURE = (
    "architecture", "output_stride", "num_stages", "decoder_channels", "atrous_rates", "separable", "dilation", "align_corners",
)  # fmt: skip


def recognizes(names: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of one of torchvision's segmenters on a ResNet."""
    return LOGITS in names and any(name.startswith(f"{BODY}layer1.") for name in names)


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by the names of the present version, which all files have."""
    return dict(tensors)


def find(tensors: Mapping[str, Tensor]) -> LibrarySegmenter:
    """The segmenter that has these tensors.

    Raises:
        UserError: the backbone is none of torchvision's.
    """
    architecture = "deeplabv3" if "classifier.0.project.0.weight" in tensors else "fcn"
    aux = any(name.startswith("aux_classifier.") for name in tensors)
    settings = dataclasses.replace(PREFIXES[f"{architecture}_"], aux=aux)
    spec = library_segmenter.backbone_of(tensors, BODY)
    return LibrarySegmenter(settings, spec, len(tensors[LOGITS]), RULES[architecture])


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """Those of VOC with the background, as torchvision's files have them, for 21 classes."""
    if num_classes != 21:
        return library_segmenter.numbered_class_names(num_classes)
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    names: list[str] = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    return ("background", *names[1:])


def assumptions(found: LibrarySegmenter) -> list[str]:
    """What the tensors do not show."""
    return []


def write(path: str | Path, checkpoint: Checkpoint) -> str:
    """Write the state_dict, and return torchvision's name of the segmenter that loads it.

    Raises:
        UserError: torchvision has no such segmenter.
    """
    settings = segmenter_settings(checkpoint)
    name = architecture(settings, checkpoint.spec)
    found = LibrarySegmenter(settings, checkpoint.spec, len(checkpoint.class_names), RULES[settings.architecture])
    library_files.save(path, found.keymap.from_resnets(checkpoint.tensors), {})
    return f"{name}, aux_loss={settings.aux}"


def architecture(settings: SegmenterSettings, spec: ResNetSpec) -> str:
    """torchvision's name of a segmenter of this structure.

    Raises:
        UserError: it has none.
    """
    network = torchvision.architecture(dataclasses.replace(spec, num_classes=1000, in_channels=3))
    own = PREFIXES[f"{settings.architecture}_"]
    same = all(getattr(settings, key) == getattr(own, key) for key in STRUCTURE)
    if settings.architecture not in RULES or network not in NETWORKS or not same or spec.in_channels != 3:
        raise UserError(
            f"torchvision has no function for a {settings.architecture} with these settings on '{spec.name}'; it has FCN and "
            f"DeepLabV3 on {' and '.join(NETWORKS)}."
        )
    return f"{settings.architecture}_{network}"


def reference_model(tensors: Mapping[str, Tensor], found: LibrarySegmenter) -> Callable[[Tensor], Tensor]:
    """torchvision's own segmenter with all tensors of a file, loaded strictly: images to logits.

    Raises:
        UserError: torchvision has no such segmenter.
    """
    from torchvision.models import segmentation

    function = getattr(segmentation, architecture(found.settings, found.spec))
    with torch.device("meta"):
        net = function(weights=None, weights_backbone=None, num_classes=found.num_classes, aux_loss=found.settings.aux)
    net = library_files.load_strictly(net, tensors)
    return lambda x: net(x)["out"]
