"""Published weights: downloaded and converted to a checkpoint once, then cached; and `create_model`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from resnets.data.image.preprocess import Preprocess
from resnets.errors import JobError, UserError
from resnets.files import sha256
from resnets.models import zoo
from resnets.models.resnet import Backbone, ResNet
from resnets.progress import log
from resnets.weights import adapt, load_weights, provenance
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import huggingface, keras, registry
from resnets.weights.hub import bundled, catalog, download, imagenet_classes, other_names
from resnets.weights.hub.catalog import PublishedWeights
from resnets.weights.readers import read_any as read_any
from resnets.weights.readers.read_any import WeightsFile

CONVERSION = 2  # increase it to convert cached weights again


def resolve_name(weights: str, model: str | None) -> str:
    """`weights` unchanged or, for "imagenet" and its synonyms, the name of the best published weights for `model`, which is
    logged. Without a model, those for resnet18, the default network of a training.

    Raises:
        UserError: `weights` is "imagenet" and there are no published weights for the network.
    """
    weights = other_names.canonical_name(weights, model)
    if weights != catalog.BEST:
        return weights
    return _announce(catalog.best(model or "resnet18"), model or "resnet18")


def download_best(model: str) -> tuple[str | None, str]:
    """The name of the best published weights for `model`, downloaded if needed; or None, and why not.

    A host that does not answer within `download.PROBE_SECONDS` is treated as unreachable.
    """
    try:
        entry = catalog.best(model)
    except UserError:
        others = "".join(f"; `weights={name}` takes those that come with resnets" for name in bundled.of_model(model))
        return None, f"nobody published ImageNet weights for {model}{others}"
    is_local = (
        download.path_of(entry).with_name(f"resnets-{CONVERSION}.safetensors").is_file()
        or download.path_of(entry).is_file()
    )
    if not is_local and (reason := download.unreachable(entry)):
        return None, reason
    try:
        name = _announce(entry, model)
        locate(name)
    except (JobError, UserError) as error:
        return None, str(error)
    return name, ""


def _announce(entry: PublishedWeights, model: str) -> str:
    facts = [
        f"top-1 {entry.top1} % ({entry.protocol})" if entry.top1 is not None else "",
        f"{entry.megabytes:.0f} MiB" if entry.megabytes else "size unknown",
        f"from {entry.host}",
        f"license {entry.license}" if entry.license else "",
        "with " + ", ".join(f"{key}={value}" for key, value in entry.overrides.items()) if entry.overrides else "",
    ]
    log(f"ImageNet weights for {model}: {entry.name}, {', '.join(fact for fact in facts if fact)}")
    return entry.name


def locate(name: str) -> Path:
    """The checkpoint file of these weights, downloaded and converted if needed.

    Raises:
        UserError: no published weights have this name, or RESNETS_OFFLINE is set and they are not on this machine.
        JobError: the download failed.
    """
    entry = catalog.find(name)
    converted = download.path_of(entry).with_name(f"resnets-{CONVERSION}.safetensors")
    if not converted.is_file():
        checkpoints.save(converted, _converted(entry, download.download(entry)))
    return converted


def checkpoint(name: str) -> Checkpoint:
    """The published weights of that name as a checkpoint. Raises as `locate` does."""
    return checkpoints.read(locate(name))


def create_model(
    name: str,
    *,
    weights: object = "none",
    num_classes: int | None = None,
    in_channels: int = 3,
    include_top: bool = True,
    pooling: str | None = None,
    **overrides: Any,
) -> ResNet | Backbone:
    """A network by name, such as `create_model("resnet50", num_classes=5)`.

    Args:
        name: a name that `list_models` returns.
        weights: "none" or None for a freshly initialized network; "imagenet", "DEFAULT" or True for the best published
            ones; "IMAGENET1K_V1" or a member of torchvision's enums; a name that `resnets weights list` prints, which may also
            be given as `name`; or the path of a checkpoint or run directory.
        num_classes: number of outputs; 0 for pooled features. Where the weights have another number, the last layer is new.
        in_channels: channels of the image. For 1, the kernels of three channels are added; from 4 on, new kernels are zero.
        include_top: False leaves the head out, as in Keras Applications.
        pooling: without the head: None for feature maps (N, C, h, w), "avg" or "max" for pooled features (N, C).
        overrides: other fields of `ResNetSpec`, such as `drop_path_rate=0.2`; not with weights. `in_chans` and `pretrained`
            are accepted as in timm.

    Returns:
        A network in training mode, or in evaluation mode if it has weights: images (N, in_channels, H, W), float, to logits
        (N, num_classes).

    Raises:
        UserError: an unknown name or override, weights of another network, or a value that does not fit.
    """
    overrides = other_names.translate_arguments(overrides, name)
    for key, is_given in (("num_classes", num_classes is not None), ("in_channels", in_channels != 3)):
        if key in overrides and is_given:
            raise UserError(f"`{key}` was given twice, once by its name in another library.")
    pretrained = overrides.pop("pretrained", None)
    num_classes, in_channels = overrides.pop("num_classes", num_classes), overrides.pop("in_channels", in_channels)
    if pretrained is not None and weights != "none":
        raise UserError("`pretrained` and `weights` are two names of one value; leave one of them out.")
    if pretrained is not None:
        weights = pretrained
    if isinstance(name, str) and catalog.known(name) and name not in zoo.entries():
        name, weights = catalog.find(name).model, name if weights in ("none", True) else weights
    weights = other_names.canonical_name(weights, name)
    if num_classes == 0:
        include_top, num_classes = False, None
        pooling = pooling or "avg"
    if include_top and pooling is not None:
        raise UserError(f"pooling={pooling!r} needs include_top=False; the head has its own pooling.")
    if not include_top and num_classes is not None:
        raise UserError(f"Without its head a network has no classes; received num_classes={num_classes}.")
    net = _with_head(name, weights, num_classes, in_channels, overrides)
    return net if include_top else net.backbone(pooling)


def _with_head(
    name: str, weights: str | Path, num_classes: int | None, in_channels: int, overrides: Mapping[str, Any]
) -> ResNet:
    if str(weights) == "none":
        return zoo.create_model(name, num_classes=num_classes, in_channels=in_channels, **overrides)
    if overrides:
        raise UserError(f"Weights fix the network; leave out {', '.join(overrides)}, or the weights.")
    zoo.find(name)
    weights_name = str(weights)
    if (
        catalog.known(weights_name)
        and not Path(weights_name).exists()
        and (other := catalog.find(weights_name).model) != name
    ):
        raise UserError(f"The weights '{weights_name}' are of {other}; received '{name}'.")
    loaded = _read(resolve_name(weights_name, name))
    if loaded.spec.name != name:
        raise UserError(f"The weights are of {loaded.spec.name}; received '{name}'.")
    others = num_classes if num_classes != loaded.spec.num_classes else None
    loaded, notes = adapt.adapt_checkpoint(loaded, num_classes=others, in_channels=in_channels)
    for note in notes:
        log(note)
    return checkpoints.network(loaded)


def _read(weights: str) -> Checkpoint:
    """The checkpoint at a path, of bundled weights, or of published weights; `resolve` is above this module."""
    is_local = os.path.lexists(weights) or bundled.path_of(weights) is not None
    return checkpoints.read(weights) if is_local or not catalog.known(weights) else checkpoint(weights)


def _converted(entry: PublishedWeights, path: Path) -> Checkpoint:
    spec, weights_file = entry.spec(), keras.named(read_any.read(path))
    top = entry.num_classes > 0
    keymap = registry.find(entry.format).keymap(spec, top=top)
    tensors = keymap.ours(weights_file.tensors)
    if not top:
        log(f"{entry.name} has no last layer: a new, untrained one for {spec.num_classes} classes")
        tensors |= adapt.new_head(spec)
    return Checkpoint(
        spec=spec,
        preprocess=_preprocess(entry, path),
        classes=_class_names(entry, weights_file) if top else (),
        tensors={name: _as_float32(tensor) for name, tensor in tensors.items()},
        metrics=_metrics(entry),
        provenance={
            **provenance.of_published(entry),
            "format": entry.format,
            "parent_sha256": sha256(path),
            **({} if top else {"head": checkpoints.UNTRAINED}),
        },
    )


def _preprocess(entry: PublishedWeights, path: Path) -> Preprocess:
    read = huggingface.preprocessor(path) if entry.format == "huggingface" else None
    return read or entry.preprocess()


def _class_names(entry: PublishedWeights, weights_file: WeightsFile) -> tuple[str, ...]:
    names = huggingface.class_names(weights_file) if entry.format == "huggingface" else ()
    return load_weights.distinct(names if len(names) == len(imagenet_classes.NAMES) else imagenet_classes.NAMES)


def _as_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32: torchvision's first wide_resnet50_2 is stored in half precision."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _metrics(entry: PublishedWeights) -> dict[str, Any]:
    if entry.top1 is None:
        return {}
    percentages = {"top1": entry.top1, "top5": entry.top5}
    facts = {key: round(value / 100, 6) for key, value in percentages.items() if value is not None}
    return {**facts, "protocol": f"ImageNet validation, {entry.protocol}"}
