"""Weights in the package, for predictions without a download: networks that this project trained itself.

`cifar_resnet20.cifar10` is a full run of the recipe `he2015_cifar`; docs/recipes.md has its command, curve and metrics.
`cifar_fast.cifar10` is one of the recipe `cifar_fast`, in half precision; see there as well.
`fasterrcnn_light_tiny.digit_scenes` finds handwritten digits; docs/detection.md has its command and metrics.
"""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from resnets.weights import header_format

SUFFIX = ".safetensors"
LICENSE = "apache-2.0"  # that of the project
ACCURACIES = ("top1", "top5", "box_ap", "mask_ap", "miou")  # in the metrics of a checkpoint, as fractions
_FOLDER = Path(__file__).with_name("bundled_weights")


@dataclass(frozen=True)
class BundledWeights:
    """One file of the package, with the field names of `catalog.PublishedWeights`."""

    name: str
    format: str
    model: str
    num_classes: int
    top1: float | None  # accuracy in percent, with the protocol of `protocol`; None for other tasks
    top5: float | None  # accuracy in percent, with the protocol of `protocol`; None for other tasks
    protocol: str
    megabytes: float  # size of the file in units of 2**20 bytes
    license: str = LICENSE
    box_ap: float | None = None  # of a detector, in percent, with the protocol of `protocol`
    mask_ap: float | None = None  # of a detector with masks
    miou: float | None = None  # of a segmenter, in percent
    overrides: dict[str, Any] = field(default_factory=dict, hash=False)


def names() -> list[str]:
    """The names of the weights in the package."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _FOLDER.glob(f"*{SUFFIX}"))


def path_of(name: str) -> Path | None:
    """The file of that name; None if the package has none."""
    return _FOLDER / f"{name}{SUFFIX}" if name in names() else None


def of_model(model: str) -> list[str]:
    """The names of the weights in the package for a network of the zoo."""
    return [name for name, entry in entries().items() if entry.model == model]


@cache
def entries() -> dict[str, BundledWeights]:
    """All of them by name, from the headers of the files, without importing torch or reading a tensor."""
    return {name: _entry(name) for name in names()}


def _entry(name: str) -> BundledWeights:
    from safetensors import safe_open

    path = _FOLDER / f"{name}{SUFFIX}"
    with safe_open(path, framework="numpy") as file:
        header = header_format.upgrade(json.loads(file.metadata()[header_format.KEY]))
    metrics = header["metrics"]
    measured: dict[str, Any] = {key: round(100 * metrics[key], 2) if key in metrics else None for key in ACCURACIES}
    return BundledWeights(
        name,
        format="resnets",
        model=name.partition(".")[0],
        num_classes=len(header["class_names"]),
        protocol=metrics["protocol"],
        megabytes=path.stat().st_size / 2**20,
        **measured,
    )
