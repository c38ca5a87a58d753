"""Translate names of weights in torchvision, timm and Keras to those of resnets."""

import os
import re

from resnets.errors import UserError
from resnets.weights.hub import catalog

NONE = ("none", "false", "null", "random", "")
DEFAULT = ("default", "true", "pretrained", catalog.BEST)


def translate_weights(weights: object, model: str | None) -> str:
    """`weights` as "none", "imagenet", or a name or path.

    None and False become "none"; True and "DEFAULT" become "imagenet"; "IMAGENET1K_V1" and members of torchvision's enums become
    names of the catalog.

    Raises:
        UserError: a member of an enum is for another network than `model`.
    """
    owner, member = type(weights).__name__, getattr(weights, "name", None)
    if owner.endswith("_Weights") and isinstance(member, str):  # without importing torchvision
        weights = f"{owner}.{member}"
    if not (weights is None or isinstance(weights, bool | str | os.PathLike)):
        raise UserError(f"`weights` is a name, a path, True or None; received {weights!r}.")
    if enum := re.fullmatch(r"(\w+)_Weights\.(\w+)", str(weights)):
        network = enum[1].lower()
        if model not in (None, network):
            raise UserError(f"The weights {weights} are of '{network}'; received the network '{model}'.")
        weights, model = enum[2], network
    text = "none" if weights is None or weights is False else str(weights)
    if text.lower() in NONE:
        return "none"
    if text.lower() in DEFAULT:
        return catalog.BEST
    if version := re.fullmatch(r"IMAGENET1K_(V\d)", text, re.IGNORECASE):
        name = f"{model or 'resnet18'}.tv_in1k_{version[1].lower()}"
        if not catalog.known(name):
            published = catalog.matching(f"{model or 'resnet18'}.tv_*", catalog.entries())
            others = f"there are {', '.join(published[:6])}" if published else "there are none"
            raise UserError(f"torchvision has published no {text} for '{model or 'resnet18'}'; {others}.")
        return name
    return text
