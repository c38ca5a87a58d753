"""Published weights by their name in the catalog: downloaded and converted to a checkpoint once, then cached."""

import dataclasses
from pathlib import Path
from typing import Any

from resnets.errors import JobError, UserError
from resnets.hashing import sha256
from resnets.models import model_names
from resnets.progress import log
from resnets.weights import adapt, load_weights, provenance
from resnets.weights import checkpoint as checkpoints
from resnets.weights.checkpoint import Checkpoint
from resnets.weights.detection import checkpoint as detection
from resnets.weights.detection import torchvision as torchvision_detector
from resnets.weights.formats import huggingface, keras, registry
from resnets.weights.hub import bundled, catalog, download, imagenet_classes, library_names
from resnets.weights.hub.catalog import PublishedWeights
from resnets.weights.readers import read_any
from resnets.weights.segmentation import checkpoint as segmentation
from resnets.weights.segmentation import torchvision as torchvision_segmenter
from resnets.weights.segmentation.load_segmenter import load_segmenter

CONVERSION = 2  # increase it to convert cached weights again


def imagenet_to_name(weights: str, model: str | None) -> str:
    """`weights` unchanged or, for "imagenet" and its synonyms, the name of the best published weights for `model`, of a detector
    those for its network, which is logged. Without a model, those for resnet18, the default network of a training.

    Raises:
        UserError: `weights` is "imagenet" and there are no published weights for the network.
    """
    weights = library_names.translate_weights(weights, model)
    if weights != catalog.BEST:
        return weights
    network = model_names.backbone_name(model or "resnet18")
    return _announce(catalog.best(network), network)


def download_best(model: str) -> tuple[str | None, str]:
    """The name of the best published weights for `model`, downloaded if needed; or None, and why not.

    A host that does not answer within `download.PROBE_SECONDS` is treated as unreachable.
    """
    try:
        entry = catalog.best(model)
    except UserError:
        others = "".join(f"; `weights={name}` takes those of the package" for name in bundled.of_model(model))
        return None, f"no ImageNet weights are published for {model}{others}"
    is_local = _converted_path(entry).is_file() or download.path_of(entry).is_file()
    if not is_local and (reason := download.unreachable(entry)):
        return None, reason
    try:
        name = _announce(entry, model)
        checkpoint_file(name)
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


def checkpoint_file(name: str) -> Path:
    """The checkpoint file of these weights, downloaded and converted if needed.

    Raises:
        UserError: no published weights have this name, or RESNETS_OFFLINE is set and they are not on this machine.
        JobError: the download failed.
    """
    entry = catalog.find(name)
    converted = _converted_path(entry)
    if not converted.is_file():
        checkpoints.save(converted, _converted(entry, download.download(entry)))
    return converted


def _converted_path(entry: PublishedWeights) -> Path:
    return download.path_of(entry).with_name(f"resnets-{CONVERSION}.safetensors")


def read(name: str) -> Checkpoint:
    """The published weights of that name as a checkpoint. Raises as `checkpoint_file` does."""
    return checkpoints.read(checkpoint_file(name), task=None)


def _converted(entry: PublishedWeights, path: Path) -> Checkpoint:
    if entry.format == torchvision_detector.FORMAT:
        return _converted_detector(entry, path)
    if entry.format == catalog.SEGMENTER:
        return _converted_segmenter(entry, path)
    spec, weights_file = entry.spec(), keras.with_variable_names(read_any.read(path))
    top = entry.num_classes > 0
    keymap = registry.find(entry.format).keymap(spec, top=top)
    tensors = keymap.to_resnets(weights_file.tensors)
    if not top:
        log(f"{entry.name} has no last layer: a new, untrained one for {spec.num_classes} classes")
        tensors |= adapt.new_head(spec)
    is_huggingface, known = entry.format == "huggingface", imagenet_classes.NAMES
    names = huggingface.class_names(weights_file) if is_huggingface else ()
    return Checkpoint(
        spec=spec,
        preprocess=(huggingface.preprocessor(path) if is_huggingface else None) or entry.preprocess(),
        class_names=load_weights.distinct(known if len(names) != len(known) else names) if top else (),
        # In float32: torchvision's first wide_resnet50_2 is stored in half precision.
        tensors={name: each.float() if each.is_floating_point() else each for name, each in tensors.items()},
        metrics=_metrics(entry),
        provenance={
            **provenance.of_published(entry),
            "format": entry.format,
            "parent_sha256": sha256(path),
            **({} if top else {"head": checkpoints.UNTRAINED}),
        },
    )


def _converted_detector(entry: PublishedWeights, path: Path) -> Checkpoint:
    found = torchvision_detector.to_checkpoint(read_any.read(path).tensors)
    if (name := torchvision_detector.architecture(detection.detector_settings(found), found.spec)) != entry.model:
        raise UserError(f"'{path}' is a {name}; '{entry.name}' is a {entry.model}.")
    percentages = {"box_ap": entry.box_ap, "mask_ap": entry.mask_ap}
    metrics = {key: round(value / 100, 6) for key, value in percentages.items() if value is not None}
    origin = {**provenance.of_published(entry), "format": entry.format, "parent_sha256": sha256(path)}
    return dataclasses.replace(
        found, spec=entry.spec(), preprocess=entry.preprocess(), provenance=origin,
        metrics={**metrics, "protocol": "COCO val2017, torchvision"},
    )  # fmt: skip


def _converted_segmenter(entry: PublishedWeights, path: Path) -> Checkpoint:
    found, _ = load_segmenter(path, "torchvision", read_any.read(path).tensors, (), {})
    name = torchvision_segmenter.architecture(segmentation.segmenter_settings(found), found.spec)
    if name != entry.model or len(found.class_names) != entry.num_classes:
        raise UserError(f"'{path}' is a {name} of {len(found.class_names)} classes; '{entry.name}' is a {entry.model}.")
    metrics: dict[str, Any] = {} if entry.miou is None else {"miou": round(entry.miou / 100, 6)}
    origin = {**provenance.of_published(entry), "format": entry.format, "parent_sha256": sha256(path)}
    return dataclasses.replace(
        found, preprocess=entry.preprocess(), provenance=origin, metrics={**metrics, "protocol": entry.protocol}
    )


def _metrics(entry: PublishedWeights) -> dict[str, Any]:
    if entry.top1 is None:
        return {}
    percentages = {"top1": entry.top1, "top5": entry.top5}
    facts = {key: round(value / 100, 6) for key, value in percentages.items() if value is not None}
    return {**facts, "protocol": f"ImageNet validation, {entry.protocol}"}
