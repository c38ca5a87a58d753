"""Weights that come with the package, so that a first answer needs no download: networks that this project trained itself.

`cifar_resnet20.cifar10` is the whole run of `--recipe he2015_cifar`; docs/recipes.md has its command, curve and figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from resnets.weights import header_format

SUFFIX = ".safetensors"
LICENSE = "apache-2.0"  # that of the project
_FOLDER = Path(__file__).with_name("bundled_weights")


@dataclass(frozen=True)
class Shipped:
    """One file of the package; what it says of itself, in the words of `catalog.Published`.

    Attributes:
        top1, top5: accuracy in percent, by the protocol.
        megabytes: size of the file in units of 2**20 bytes.
    """

    name: str
    format: str
    model: str
    num_classes: int
    top1: float
    top5: float
    protocol: str
    megabytes: float
    license: str = LICENSE
    overrides: dict[str, Any] = field(default_factory=dict, hash=False)


def names() -> list[str]:
    """The names of the weights that are in the package."""
    return sorted(file.name.removesuffix(SUFFIX) for file in _FOLDER.glob(f"*{SUFFIX}"))


def place(name: str) -> Path | None:
    """The file of that name; None when the package has none."""
    return _FOLDER / f"{name}{SUFFIX}" if name in names() else None


def of_model(model: str) -> list[str]:
    """The names of the weights in the package for a network of the zoo."""
    return [name for name, entry in entries().items() if entry.model == model]


@cache
def entries() -> dict[str, Shipped]:
    """All of them by name, from the headers of the files: neither torch nor a tensor is loaded for it."""
    return {name: _entry(name) for name in names()}


def _entry(name: str) -> Shipped:
    from safetensors import safe_open

    path = _FOLDER / f"{name}{SUFFIX}"
    with safe_open(path, framework="numpy") as file:
        header = header_format.upgrade(json.loads(file.metadata()[header_format.KEY]))
    spec, metrics = header["spec"], header["metrics"]
    top1, top5 = (round(100 * metrics[key], 2) for key in ("top1", "top5"))
    megabytes = path.stat().st_size / 2**20
    return Shipped(name, "resnets", spec["name"], spec["num_classes"], top1, top5, metrics["protocol"], megabytes)
