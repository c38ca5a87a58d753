"""Published weights as checkpoints of ours: fetched and converted once, then kept."""

from __future__ import annotations

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
from resnets.weights import adapt, conversion, provenance
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.formats import huggingface, keras, registry
from resnets.weights.hub import bundled, catalog, download, imagenet_classes, other_names
from resnets.weights.hub.catalog import Published
from resnets.weights.readers import read_any as foreigners
from resnets.weights.readers.read_any import Foreign

CONVERSION = 2  # a new one converts again what an older release kept


def chosen(weights: str, model: str | None) -> str:
    """`weights` as it is or, for "imagenet" and the like (`words.meaning`), the name of the best published ones for
    `model`, which is told; without a model, for resnet18, the network that is trained where none is named.

    Raises:
        UserError: "imagenet" for a network for which nobody published weights.
    """
    weights = other_names.meaning(weights, model)
    if weights != catalog.BEST:
        return weights
    return _told(catalog.best(model or "resnet18"), model or "resnet18")


def obtained(model: str) -> tuple[str | None, str]:
    """The name of the best published weights for `model`, downloaded if they are not here yet; or None, and why not.

    A host that does not answer within `fetch.PROBE_SECONDS` counts as one that cannot be reached.
    """
    try:
        entry = catalog.best(model)
    except UserError:
        others = "".join(f"; `weights={name}` takes those that come with resnets" for name in bundled.of_model(model))
        return None, f"nobody published ImageNet weights for {model}{others}"
    here = (
        download.place(entry).with_name(f"resnets-{CONVERSION}.safetensors").is_file()
        or download.place(entry).is_file()
    )
    if not here and (reason := download.unreachable(entry)):
        return None, reason
    try:
        name = _told(entry, model)
        locate(name)
    except (JobError, UserError) as error:
        return None, str(error)
    return name, ""


def _told(entry: Published, model: str) -> str:
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
    """The checkpoint of these weights on this machine, fetched and converted when it is not here yet.

    Raises:
        UserError: no published weights have this name, or RESNETS_OFFLINE is set and they are not here.
        JobError: they could not be had.
    """
    entry = catalog.find(name)
    kept = download.place(entry).with_name(f"resnets-{CONVERSION}.safetensors")
    if not kept.is_file():
        checkpoints.save(kept, _converted(entry, download.fetch(entry)))
    return kept


def checkpoint(name: str) -> Checkpoint:
    """The published weights of that name as a checkpoint of ours. Raises as `locate` does."""
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
    overrides = other_names.arguments(overrides, name)
    for key, given in (("num_classes", num_classes is not None), ("in_channels", in_channels != 3)):
        if key in overrides and given:
            raise UserError(f"`{key}` was given twice, once as another library calls it.")
    pretrained = overrides.pop("pretrained", None)
    num_classes, in_channels = overrides.pop("num_classes", num_classes), overrides.pop("in_channels", in_channels)
    if pretrained is not None and weights != "none":
        raise UserError("`pretrained` and `weights` say two things of one value; leave one of them out.")
    if pretrained is not None:
        weights = pretrained
    if isinstance(name, str) and catalog.known(name) and name not in zoo.entries():
        name, weights = catalog.find(name).model, name if weights in ("none", True) else weights
    weights = other_names.meaning(weights, name)
    if num_classes == 0:
        include_top, num_classes = False, None
        pooling = pooling or "avg"
    if include_top and pooling is not None:
        raise UserError(f"pooling={pooling!r} goes with include_top=False; the head has its own.")
    if not include_top and num_classes is not None:
        raise UserError(f"Without its head a network has no classes; received num_classes={num_classes}.")
    net = _whole(name, weights, num_classes, in_channels, overrides)
    return net if include_top else net.backbone(pooling)


def _whole(
    name: str, weights: str | Path, num_classes: int | None, in_channels: int, overrides: Mapping[str, Any]
) -> ResNet:
    if str(weights) == "none":
        return zoo.create_model(name, num_classes=num_classes, in_channels=in_channels, **overrides)
    if overrides:
        raise UserError(f"Weights fix the network; leave out {', '.join(overrides)}, or the weights.")
    zoo.find(name)
    given = str(weights)
    if catalog.known(given) and not Path(given).exists() and (other := catalog.find(given).model) != name:
        raise UserError(f"The weights '{given}' are of {other}; received '{name}'.")
    found = checkpoints.read(chosen(given, name))
    if found.spec.name != name:
        raise UserError(f"The weights are of {found.spec.name}; received '{name}'.")
    others = num_classes if num_classes != found.spec.num_classes else None
    found, notes = adapt.adapted(found, num_classes=others, in_channels=in_channels)
    for note in notes:
        log(note)
    return checkpoints.network(found)


def _converted(entry: Published, path: Path) -> Checkpoint:
    spec, foreign = entry.spec(), keras.named(foreigners.read(path))
    top = entry.num_classes > 0
    keymap = registry.find(entry.format).keymap(spec, top=top)
    tensors = keymap.ours(foreign.tensors)
    if not top:
        log(f"{entry.name} has no last layer: a new, untrained one for {spec.num_classes} classes")
        tensors |= adapt.new_head(spec)
    return Checkpoint(
        spec=spec,
        preprocess=_preprocess(entry, path),
        classes=_class_names(entry, foreign) if top else (),
        tensors={name: _single(tensor) for name, tensor in tensors.items()},
        metrics=_metrics(entry),
        provenance={
            **provenance.of_published(entry),
            "format": entry.format,
            "parent_sha256": sha256(path),
            **({} if top else {"head": checkpoints.UNTRAINED}),
        },
    )


def _preprocess(entry: Published, path: Path) -> Preprocess:
    said = huggingface.preprocessor(path) if entry.format == "huggingface" else None
    return said or entry.preprocess()


def _class_names(entry: Published, foreign: Foreign) -> tuple[str, ...]:
    names = huggingface.class_names(foreign) if entry.format == "huggingface" else ()
    return conversion.distinct(names if len(names) == len(imagenet_classes.NAMES) else imagenet_classes.NAMES)


def _single(tensor: Tensor) -> Tensor:
    """float32: torchvision's first wide_resnet50_2 has half precision, to be a smaller file."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _metrics(entry: Published) -> dict[str, Any]:
    if entry.top1 is None:
        return {}
    shares = {"top1": entry.top1, "top5": entry.top5}
    facts = {key: round(value / 100, 6) for key, value in shares.items() if value is not None}
    return {**facts, "protocol": f"ImageNet validation, {entry.protocol}"}
