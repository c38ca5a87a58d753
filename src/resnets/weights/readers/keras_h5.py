"""Read `.h5` files of Keras, in the sandbox: legacy weights, legacy whole models, and the `.weights.h5` of Keras 3."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from resnets.errors import UserError
from resnets.weights.readers import json_file
from resnets.weights.readers.errors import RATIO, RefusedError

MAGIC = b"\x89HDF\r\n\x1a\n"
SLACK = 2**20  # bytes of tensors that even a tiny file may hold
MAX_DEPTH = 32
MAX_OBJECTS = 200_000
MAX_TEXT = 16 * 2**20  # bytes of attributes; the model_config of Keras' ResNet-152 has 0.3 MB

_FILTERS = {1, 2, 3, 32000}  # gzip, shuffle, checksum and lzf: what h5py itself has; others would be plug-ins
_SKIPPED = ("optimizer", "optimizer_weights")


def read(opened: BinaryIO, _: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays by their paths in the file, below `model_weights` where there is one, and `layers` and the like.

    Raises:
        RefusedError: links, data in other files, or tensors larger than the file can hold.
    """
    import h5py

    size = opened.seek(0, os.SEEK_END)
    with h5py.File(opened, "r") as file:
        description, datasets = describe(file, size)
        if text := description.pop("model_config", None):
            try:
                description["config"] = json_file.parse(text.encode(), "model_config")
            except UserError as error:
                raise RefusedError(f"is damaged: {error}") from None
        arrays = {name: _to_array(dataset) for name, dataset in datasets.items()}
    return arrays, {name: value for name, value in description.items() if value}


def describe(file: Any, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description of the file, and its datasets in the order of their tensors.

    Raises:
        RefusedError: links, data outside the file, or tensors larger than a file of `size` bytes can hold.
    """
    budget = [MAX_TEXT]
    attributes = {name: _attribute(file, name, budget) for name in ("keras_version", "backend", "model_config")}
    root, wrapper = file, None
    if "model_weights" in file and "layer_names" not in file.attrs:
        wrapper = "model_weights"
        root = _own_object(file, wrapper)
    found: dict[str, Any] = {}
    skipped: list[str] = []
    names: dict[str, str] = {}
    for name, dataset in _walk(root, budget, skipped, names):
        found[name] = dataset
    claimed = sum(_nbytes(dataset) for dataset in found.values())
    if claimed > RATIO * size + SLACK:
        raise RefusedError(f"has {size:,} bytes and claims tensors of {claimed:,}, which it cannot hold.")
    layers = _layers_from_lists(root, found, budget) if "layer_names" in root.attrs or "layer_names0" in root.attrs else (
        _layers_from_groups(found, names))  # fmt: skip
    order = [name for layer in layers for name in layer["tensors"]]
    order += [name for name in found if name not in set(order)]
    outside = sorted(name for name in file if root is not file and name != wrapper)
    for name in ("keras_version", "backend"):
        attributes[name] = attributes[name] or _attribute(root, name, budget)
    return {
        "layers": layers,
        "wrapper": wrapper,
        "skipped": sorted(skipped + outside),
        **{name: value for name, value in attributes.items() if value},
    }, {name: found[name] for name in order}


def _walk(root: Any, budget: list[int], skipped: list[str], names: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every dataset below `root` with its path; each group once."""
    import h5py

    stack = [("", root)]
    seen: set[Any] = set()
    objects = 0
    while stack:
        prefix, group = stack.pop(0)
        address = h5py.h5o.get_info(group.id).addr
        if address in seen or prefix.count("/") > MAX_DEPTH:
            raise RefusedError(
                "has groups that contain each other, or are nested too deep, unlike any file of weights."
            )
        seen.add(address)
        if prefix.endswith("vars/") and (name := _attribute(group, "name", budget)):
            names[prefix] = name
        for key in group:
            objects += 1
            if objects > MAX_OBJECTS:
                raise RefusedError(f"holds more than {MAX_OBJECTS:,} objects, more than any weights file needs.")
            name = prefix + _text(key, budget)
            if not prefix and key in _SKIPPED:
                skipped.append(key)
                continue
            item = _own_object(group, key)
            if isinstance(item, h5py.Dataset):
                _check(name, item)
                yield name, item
            elif isinstance(item, h5py.Group):
                stack.append((name + "/", item))
            else:
                raise RefusedError(f"holds {name[:80]!r}, which is neither a group nor numbers.")


def _own_object(group: Any, key: str) -> Any:
    """The object under `key`, if it is in the file itself."""
    import h5py

    link = group.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise RefusedError(
            f"has under {key[:80]!r} a link to another file, {link.filename[:80]!r}, which is not followed."
        )
    if not isinstance(link, h5py.HardLink):
        raise RefusedError(f"has under {key[:80]!r} a soft link, unlike any file of weights.")
    return group[key]


def _check(name: str, dataset: Any) -> None:
    if dataset.is_virtual:
        raise RefusedError(f"has a virtual dataset, {name[:80]!r}, whose data is in other files.")
    if dataset.external:
        raise RefusedError(f"keeps {name[:80]!r} in another file, which is not read.")
    if (
        dataset.shape is None
        or len(dataset.shape) > 8
        or dataset.dtype.kind not in "fiub"
        or dataset.dtype.itemsize > 8
    ):
        raise RefusedError(f"has under {name[:80]!r} {dataset.dtype} of shape {dataset.shape}, which is not a tensor.")
    settings = dataset.id.get_create_plist()
    for index in range(settings.get_nfilters()):
        if settings.get_filter(index)[0] not in _FILTERS:
            raise RefusedError(f"compresses {name[:80]!r} by a plug-in, which is not run.")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > 4 * _nbytes(dataset) + SLACK:
        raise RefusedError(f"has {name[:80]!r} in pieces that are larger than the whole.")


def _layers_from_lists(root: Any, found: dict[str, Any], budget: list[int]) -> list[dict[str, Any]]:
    """The layers in the order of the lists that older Keras versions write."""
    import h5py

    layers = []
    for layer in _strings(root, "layer_names", budget):
        if layer not in root or not isinstance(group := root[layer], h5py.Group):
            raise RefusedError(f"lists a layer {layer[:80]!r} that it does not hold. Download the file again.")
        tensors = [f"{layer}/{name}" for name in _strings(group, "weight_names", budget)]
        if missing := [name for name in tensors if name not in found]:
            raise RefusedError(f"lists a tensor {missing[0][:80]!r} that it does not hold. Download the file again.")
        layers.append({"name": layer, "tensors": tensors})
    listed = [name for layer in layers for name in layer["tensors"]]
    if len(set(listed)) < len(listed):
        raise RefusedError("lists a tensor twice. Download the file again.")
    return layers


def _layers_from_groups(found: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    """The layers of Keras 3, whose names are stored beside their numbered variables."""
    layers: dict[str, dict[str, Any]] = {}
    for name in found:
        group = name[: name.rfind("/") + 1]
        path = group.removesuffix("vars/").rstrip("/")
        layers.setdefault(group, {"name": names.get(group) or path.split("/")[-1], "path": path, "tensors": []})
        layers[group]["tensors"].append(name)
    for layer in layers.values():
        layer["tensors"].sort(key=lambda name: (len(name), name))  # 10 comes after 9
    return list(layers.values())


def _strings(group: Any, name: str, budget: list[int]) -> list[str]:
    """An attribute that is a list of names; a long one is cut into `name0`, `name1`, …"""
    pieces = [name] if name in group.attrs else []
    while name not in pieces and f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    return [_text(text, budget) for piece in pieces for text in _value(group, piece, budget).ravel().tolist()]


def _attribute(item: Any, name: str, budget: list[int]) -> str | None:
    """A string attribute of a group, or None."""
    return _text(_value(item, name, budget).item(), budget) if name in item.attrs else None


def _value(item: Any, name: str, budget: list[int]) -> Any:
    """An attribute as an array of strings; its size is checked before it is read."""
    import h5py
    import numpy as np

    attribute = h5py.h5a.open(item.id, name.encode("utf-8"))
    shape = attribute.shape or ()
    kind = attribute.dtype.kind
    if kind not in "SO" or len(shape) > 1 or math.prod(shape) > MAX_OBJECTS:
        if kind == "f" and math.prod(shape) == 0:
            return np.empty(0)  # an empty list has no better type
        raise RefusedError(f"has an attribute {name!r} that is not text. Download the file again.")
    budget[0] -= attribute.get_storage_size()
    if budget[0] < 0:
        raise RefusedError(f"has more than {MAX_TEXT:,} bytes of names, more than any weights file needs.")
    return np.asarray(item.attrs[name])


def _text(value: Any, budget: list[int]) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str):
        raise RefusedError("has names that are not text. Download the file again.")
    budget[0] -= len(value)
    if budget[0] < 0:
        raise RefusedError(f"has more than {MAX_TEXT:,} bytes of names, more than any weights file needs.")
    value.encode("utf-8")  # h5py gives surrogates for bytes that are not UTF-8
    return value


def _nbytes(dataset: Any) -> int:
    return math.prod(dataset.shape) * int(dataset.dtype.itemsize)


def _to_array(dataset: Any) -> Any:
    """The values in native byte order, contiguous."""
    import numpy as np

    return np.asarray(dataset[()], dtype=dataset.dtype.newbyteorder("="))
