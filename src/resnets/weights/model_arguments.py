"""Translate arguments of `create_model` in timm, torchvision and Keras to those of resnets."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from resnets.errors import UserError
from resnets.models import zoo
from resnets.weights.hub import catalog

# Arguments of these libraries that have no counterpart here, with what to do instead; and values of them without effect, which
# are ignored.
INSTEAD = {
    "global_pool": "`include_top=False` with `pooling` of None, 'avg' or 'max' gives feature maps or pooled features",
    "drop_rate": "a dropout before the last layer is `net.head.fc = nn.Sequential(nn.Dropout(0.2), net.head.fc)`",
    "norm_layer": "torch.nn.SyncBatchNorm.convert_sync_batchnorm and the like change the norms of a network",
    "act_layer": "the networks have ReLU",
    "output_stride": "`strides=(1, 2, 2, 1)` gives a last stage of stride 1, without dilation",
    "replace_stride_with_dilation": "`strides=(1, 2, 2, 1)` gives a last stage of stride 1, without dilation",
    "width_per_group": "`mid_channels` are the channels of the convolutions within the blocks",
    "checkpoint_path": "`weights` takes a checkpoint",
    "device": "call `.to(device)` on the network",
    "dtype": "call `.to(dtype)` on the network",
    "input_shape": "`in_channels` is the number of channels; images of any height and width are accepted",
    "classifier_activation": "the networks give logits",
    "pretrained_cfg": "`weights` names published weights or a file",
    "scriptable": "torch.jit.script accepts every network",
    "exportable": "torch.export accepts every network",
}
NO_EFFECT: dict[str, tuple[object, ...]] = {
    "global_pool": ("avg",),
    "drop_rate": (0,),
    "norm_layer": (nn.BatchNorm2d,),
    "act_layer": (nn.ReLU, "relu"),
    "output_stride": (32,),
    "replace_stride_with_dilation": ([False] * 3, (False,) * 3),
    "device": ("cpu", torch.device("cpu")),
    "dtype": (torch.float32,),
    "classifier_activation": ("linear",),
    "scriptable": (True,),
    "exportable": (True,),
}
NAMES_HERE = {
    "classes": "num_classes",
    "nb_classes": "num_classes",
    "n_classes": "num_classes",
    "num_labels": "num_classes",
    "input_channels": "in_channels",
    "num_channels": "in_channels",
    "img_size": "imgsz",
    "image_size": "imgsz",
}
SYNONYMS = {"in_chans": "in_channels", "in_chan": "in_channels"}


def translate(arguments: dict[str, Any], model: object = None) -> dict[str, Any]:
    """Keyword arguments with names of timm and torchvision renamed to those of resnets.

    Args:
        arguments: the keyword arguments.
        model: the name of the network, or of published weights.

    Returns:
        The arguments by the names of resnets; those without effect are left out.

    Raises:
        UserError: an argument is given under both names, or has no counterpart here.
    """
    if arguments.get("features_only"):
        raise UserError(
            "There is no argument `features_only`: every network returns its feature maps by name with `net.features(x)`, and "
            "`include_top=False` leaves the classifier out."
        )
    translated: dict[str, Any] = {}
    for key, value in arguments.items():
        if key in ("features_only", "progress", "cache_dir") or (key in INSTEAD and _has_no_effect(key, value, model)):
            continue  # downloads always show their progress
        if key in INSTEAD:
            raise UserError(f"There is no argument `{key}`: {INSTEAD[key]}.")
        if key in NAMES_HERE:
            raise UserError(f"`{key}` is called `{NAMES_HERE[key]}` here.")
        name = SYNONYMS.get(key, key)
        if name in translated or (name != key and name in arguments):
            raise UserError(f"`{key}` is called `{name}` here; received both.")
        translated[name] = value
    return translated


def _has_no_effect(key: str, value: object, model: object) -> bool:
    """Whether the network has this value anyway."""
    known: tuple[object, ...] = (None, False, *NO_EFFECT.get(key, ()))
    if key == "width_per_group" and isinstance(model, str):
        model = catalog.find(model).model if catalog.known(model) and model not in zoo.entries() else model
        spec = zoo.find(model).spec
        known += (spec.mid_channels[0] // spec.groups if spec.mid_channels else 64,)
    return any(bool(value == each) for each in known)
