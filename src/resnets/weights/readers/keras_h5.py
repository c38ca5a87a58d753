"""Read `.h5` files of Keras, in the sandbox: legacy weights, legacy whole models, and the `.weights.h5` of Keras 3."""

import math
import os
from typing import Any, BinaryIO

import numpy as np

from resnets.errors import UserError
from resnets.weights.readers import json_file
from resnets.weights.readers.errors import RATIO, RefusedError

MAGIC = b"\x89HDF\r\n\x1a\n"
SLACK = 2**20  # bytes of tensors that even a tiny file may hold

_WRAPPER = "model_weights"  # the group of the weights in a whole model
_SKIPPED = ("optimizer", "optimizer_weights")


def read(opened: BinaryIO, _: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays by their paths in the file, below `model_weights` where there is one, and `layers` and the like.

    Soft links and links to other files are not followed.

    Raises:
        RefusedError: data in other files, tensors larger than the file can hold, or layers that it does not have.
    """
    import h5py

    size = opened.seek(0, os.SEEK_END)
    with h5py.File(opened, "r") as file:
        groups: dict[str, Any] = {"": file}
        datasets: dict[str, Any] = {}

        def collect(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                datasets[name] = item
            elif isinstance(item, h5py.Group):
                groups[name] = item

        file.visititems(collect)  # each object once, over hard links only
        wrapped = _WRAPPER in groups and "layer_names" not in file.attrs
        skipped = sorted(name for name in file if name in _SKIPPED or (wrapped and name != _WRAPPER))
        if wrapped:
            groups, datasets = ({name.removeprefix(f"{_WRAPPER}/"): each for name, each in items.items()
                                 if name.startswith(f"{_WRAPPER}/")} for items in (groups, datasets))  # fmt: skip
        datasets = {name: each for name, each in datasets.items() if name.split("/")[0] not in _SKIPPED}
        for name, dataset in datasets.items():
            _check(name, dataset)
        claimed = sum(math.prod(each.shape) * int(each.dtype.itemsize) for each in datasets.values())
        if claimed > RATIO * size + SLACK:
            raise RefusedError(f"has {size:,} bytes and claims tensors of {claimed:,}, which it cannot hold.")
        root = file[_WRAPPER] if wrapped else file
        layers = _listed_layers(root, groups, datasets) or _numbered_layers(groups, datasets)
        order = [name for layer in layers for name in layer["tensors"]]
        order += [name for name in datasets if name not in set(order)]
        description: dict[str, Any] = {"layers": layers, "wrapper": _WRAPPER if wrapped else None, "skipped": skipped}
        for name in ("keras_version", "backend", "model_config"):
            description[name] = _attribute(file, name) or _attribute(root, name)
        if text := description.pop("model_config"):
            description["config"] = parse_json(text.encode(), "model_config")
        # Contiguous, in native byte order.
        arrays = {name: np.asarray(datasets[name][()], datasets[name].dtype.newbyteorder("=")) for name in order}
    return arrays, {name: value for name, value in description.items() if value}


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """The JSON object in `data`. Raises RefusedError as `json_file.parse` raises UserError."""
    try:
        return json_file.parse(data, name)
    except UserError as error:
        raise RefusedError(f"is damaged: {error}") from None


def _check(name: str, dataset: Any) -> None:
    if dataset.is_virtual or dataset.external:
        raise RefusedError(f"keeps {name[:80]!r} in another file, which is not read.")
    if dataset.shape is None or dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
        raise RefusedError(f"has under {name[:80]!r} {dataset.dtype} of shape {dataset.shape}, which is not a tensor.")


def _listed_layers(root: Any, groups: dict[str, Any], datasets: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers in the order of the lists that older Keras versions write; empty without such a list."""
    layers = []
    for layer in _strings(root, "layer_names"):
        if layer not in groups:
            raise RefusedError(f"lists a layer {layer[:80]!r} that it does not hold. Download the file again.")
        tensors = [f"{layer}/{name}" for name in _strings(groups[layer], "weight_names")]
        if missing := [name for name in tensors if name not in datasets]:
            raise RefusedError(f"lists a tensor {missing[0][:80]!r} that it does not hold. Download the file again.")
        layers.append({"name": layer, "tensors": tensors})
    return layers


def _numbered_layers(groups: dict[str, Any], datasets: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of Keras 3, whose names are stored beside their numbered variables."""
    layers: dict[str, dict[str, Any]] = {}
    for name in datasets:
        group = name.rpartition("/")[0]
        path = group.removesuffix("vars").rstrip("/")
        layer = (_attribute(groups[group], "name") if group.endswith("vars") else None) or path.split("/")[-1]
        layers.setdefault(group, {"name": layer, "path": path, "tensors": []})["tensors"].append(name)
    for each in layers.values():
        each["tensors"].sort(key=lambda name: (len(name), name))  # 10 comes after 9
    return list(layers.values())


def _strings(group: Any, name: str) -> list[str]:
    """An attribute that is a list of names; a long one is cut into `name0`, `name1`, …"""
    pieces = [name] if name in group.attrs else []
    while name not in pieces and f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    return [_text(text) for piece in pieces for text in np.ravel(group.attrs[piece]).tolist()]


def _attribute(item: Any, name: str) -> str | None:
    """A string attribute of a group, or None."""
    return _text(item.attrs[name]) if name in item.attrs else None


def _text(value: Any) -> str:
    text = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise RefusedError("has names that are not text. Download the file again.")
    return text
