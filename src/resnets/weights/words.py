"""The words with which torchvision's, timm's and Keras' users ask for weights and networks, in those of this package."""

from __future__ import annotations

import re
from typing import Any

from resnets.errors import UserError
from resnets.weights import catalog

NONE = ("none", "false", "null", "")
DEFAULT = ("default", "true", catalog.BEST)
ARGUMENTS = {"num_classes": "classes", "in_chans": "in_channels", "in_chan": "in_channels"}


def meaning(weights: object, model: str | None) -> str:
    """`weights` as "none", "imagenet", or a name or path.

    None and False stand for "none"; True and "DEFAULT" for "imagenet"; "IMAGENET1K_V1" and a member of torchvision's enums
    for the published weights that they are.

    Raises:
        UserError: a member of an enum of another network than `model`.
    """
    owner, member = type(weights).__name__, getattr(weights, "name", None)
    if owner.endswith("_Weights") and isinstance(member, str):  # torchvision is not imported for it
        network = owner.removesuffix("_Weights").lower()
        if model is not None and network != model:
            raise UserError(f"The weights {owner}.{member} are of '{network}'; received the network '{model}'.")
        weights, model = member, network
    text = "none" if weights is None or weights is False else str(weights)
    if text.lower() in NONE:
        return "none"
    if text.lower() in DEFAULT:
        return catalog.BEST
    if version := re.fullmatch(r"IMAGENET1K_(V\d)", text, re.IGNORECASE):
        return f"{model or 'resnet18'}.tv_in1k_{version[1].lower()}"
    return text


def arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments with timm's and torchvision's names in place of ours renamed.

    Raises:
        UserError: an argument is given under both names, or asks for what has another way here.
    """
    if given.get("features_only"):
        raise UserError(
            "There is no argument `features_only`: every network gives its maps by name with `net.features(x)`, and "
            "`include_top=False` leaves the classifier out."
        )
    made: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("features_only", "progress"):
            continue  # downloads always show their progress
        ours = ARGUMENTS.get(key, key)
        if ours in made or (ours != key and ours in given):
            raise UserError(f"`{key}` is called `{ours}` here; received both.")
        made[ours] = value
    return made
