"""Translate names of weights in torchvision, timm and Keras to those of resnets."""

import os
import re

from resnets.errors import UserError
from resnets.models import model_names
from resnets.models.detection import zoo as detectors
from resnets.models.detection.prefixes import TORCHVISION
from resnets.weights.hub import catalog

NONE = ("none", "false", "null", "random", "")
# Members of torchvision's enums; its segmenters were trained on images of COCO with the classes of VOC.
COCO_MEMBERS = DETECTOR_MEMBER, SEGMENTER_MEMBER = "COCO_V1", "COCO_WITH_VOC_LABELS_V1"
DEFAULT = ("default", "true", "pretrained")


def translate_weights(weights: object, model: str | None) -> str:
    """`weights` as "none", "imagenet", or a name or path.

    None and False become "none"; True and "DEFAULT" become the name of torchvision's weights for COCO if `model` is a detector
    or a segmenter that has such, else "imagenet"; "IMAGENET1K_V1", "COCO_V1" and members of its enums become names of the
    catalog.

    Raises:
        UserError: a member of an enum is for another network than `model`.
    """
    backbone = None if model is None else model_names.backbone_name(model)
    owner, member = type(weights).__name__, getattr(weights, "name", None)
    if owner.endswith("_Weights") and isinstance(member, str):  # without importing torchvision
        weights = f"{owner}.{member}"
    if not (weights is None or isinstance(weights, bool | str | os.PathLike)):
        raise UserError(f"`weights` is a name, a path, True or None; received {weights!r}.")
    if enum := re.fullmatch(r"(\w+)_Weights\.(\w+)", str(weights)):
        owner = enum[1].lower()
        if model is not None and owner not in (backbone, model) and not _same_detector(owner, model):
            raise UserError(f"The weights {weights} are of '{owner}'; received the network '{model}'.")
        weights, model, backbone = enum[2], owner, owner
    text = "none" if weights is None or weights is False else str(weights)
    if text.lower() in NONE:
        return "none"
    if text.lower() == catalog.BEST:
        return catalog.BEST
    coco = _published_for_coco(model)
    if text.upper() in COCO_MEMBERS:
        if coco is None or not coco.endswith(f".{text.lower()}"):
            names = ", ".join(catalog.matching(f"*.{text.lower()}", catalog.entries()))
            raise UserError(f"torchvision has published no {text} for '{model}'; there are {names}.")
        return coco
    if text.lower() in DEFAULT:
        return coco or catalog.BEST
    if version := re.fullmatch(r"IMAGENET1K_(V\d)", text, re.IGNORECASE):
        network = backbone or "resnet18"
        name = f"{network}.tv_in1k_{version[1].lower()}"
        if not catalog.known(name):
            published = catalog.matching(f"{network}.tv_*", catalog.entries())
            others = f"there are {', '.join(published[:6])}" if published else "there are none"
            raise UserError(f"torchvision has published no {text} for '{network}'; {others}.")
        return name
    return text


def _published_for_coco(model: str | None) -> str | None:
    """The name of torchvision's weights for COCO, if it has published such for this detector or segmenter."""
    if model is None:
        return None
    detector = next((name for name in TORCHVISION if _same_detector(name, model)), None)
    name = f"{detector}.{DETECTOR_MEMBER.lower()}" if detector else f"{model}.{SEGMENTER_MEMBER.lower()}"
    return name if catalog.known(name) else None


def _same_detector(name: str, model: str) -> bool:
    """Whether two names are of one detector, as `fasterrcnn_resnet50` and torchvision's `fasterrcnn_resnet50_fpn`."""
    return detectors.is_detector(name) and detectors.is_detector(model) and detectors.get(name) == detectors.get(model)
