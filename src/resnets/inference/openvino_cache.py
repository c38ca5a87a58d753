"""Disk cache of networks that were converted to OpenVINO: converting takes seconds, reading them again far less.

The name of a file is a hash of the weights, the source code of all modules of the network, the shape of the images and the
versions of torch and OpenVINO. A file contains data and no code.
"""

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from resnets.atomic_write import replace_file
from resnets.cache_dir import cache_dir
from resnets.errors import JobError
from resnets.inference import fold_batchnorm
from resnets.inference.import_openvino import import_openvino
from resnets.progress import log

MAX_BYTES = 2 * 10**9  # of all cached networks; beyond it, the least recently used ones are removed
SUFFIX = ".safetensors"
RETURNS_TUPLE = ["resnets", "returns_tuple"]  # in OpenVINO's XML, which has no other place for it


def load_or_convert(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """`module`, norms folded, as an `openvino.Model` for images of `shape` (N, C, h, w), in float32."""
    openvino = import_openvino()
    key = cache_key(module, shape)
    path = converted_dir() / f"{key}{SUFFIX}"
    if key and (cached := _load(path)):
        xml, weights = cached
        with contextlib.suppress(RuntimeError):  # which OpenVINO raises for what it cannot read
            return core().read_model(xml, openvino.Tensor(weights))
    folded = fold_batchnorm.fold(module).requires_grad_(False).float()
    with torch.no_grad():
        exported = torch.export.export(folded, (torch.zeros(shape),))
        converted = openvino.convert_model(exported)
    if not exported.call_spec.out_spec.is_leaf():
        converted.set_rt_info("true", RETURNS_TUPLE)
    if key:
        _store(path, converted)
    return converted


def returns_tuple(converted: Any) -> bool:
    """Whether the converted module returns a tuple of tensors, which may have one, and not a tensor."""
    return bool(converted.has_rt_info(RETURNS_TUPLE))


@functools.cache
def core() -> Any:
    """The OpenVINO core, one for the whole process.

    Each core loads a plugin that sets another signal stack and restores the former one when it is destroyed. If several cores
    are not destroyed in reverse order, a freed signal stack remains set, and the next signal (Ctrl-C, or the end of a child
    process) crashes the process with a segmentation fault (openvino 2026.4).
    """
    openvino = import_openvino()
    return openvino.Core()


def converted_dir() -> Path:
    """The folder of the converted networks; it can be removed at any time."""
    return cache_dir() / "openvino"


def cache_key(module: nn.Module, shape: tuple[int, ...]) -> str:
    """The name of its file; empty where its tensors, settings and source code do not determine what it computes."""
    openvino = import_openvino()
    digest = hashlib.sha256(repr((shape, torch.__version__, openvino.__version__)).encode())
    sources = {fold_batchnorm.__name__, __name__}  # which make one graph of the modules
    for path, child in module.named_modules():
        settings = {key: value for key, value in vars(child).items() if not key.startswith("_")}
        if child._forward_hooks or child._forward_pre_hooks or any(map(torch.is_tensor, settings.values())):
            return ""
        if " at 0x" in str(settings):  # the address of a function or an object, whose content is not in it
            return ""
        digest.update(f"{path} {type(child).__qualname__} {settings}".encode())
        sources |= {parent.__module__ for parent in type(child).__mro__ if parent is not object}
    try:
        for module_name in sorted(sources):
            digest.update(Path(str(sys.modules[module_name].__file__)).read_bytes())
    except (OSError, AttributeError, KeyError):
        return ""
    for tensor_name, tensor in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{tensor_name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().numpy().data)
    return digest.hexdigest()[:32]


def _load(path: Path) -> tuple[bytes, np.ndarray] | None:
    """OpenVINO's XML and the weights as bytes; None if there is no such file or it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            xml = (file.metadata() or {}).get("xml", "").encode()
            weights = file.get_tensor("weights")
            if (file.metadata() or {}).get("sha256") != _digest(xml, weights):
                return None
    except (OSError, SafetensorError):
        return None
    with contextlib.suppress(OSError):  # it belongs to another user, or the disk is read-only
        os.utime(path)
    return xml, weights


def _store(path: Path, converted: Any) -> None:
    """Write it to the cache. Where that fails, it will be converted again the next time."""
    openvino = import_openvino()
    # On a full disk, OpenVINO raises RuntimeError and safetensors an error of its own.
    problems = (OSError, JobError, RuntimeError, SafetensorError)
    with contextlib.suppress(*problems), tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        xml_file, weights_file = Path(folder, "model.xml"), Path(folder, "model.bin")
        openvino.serialize(converted, xml_file, weights_file)
        xml, weights = xml_file.read_bytes(), np.fromfile(weights_file, np.uint8)
        with replace_file(path) as temporary:
            metadata = {"xml": xml.decode(), "sha256": _digest(xml, weights)}
            safetensors.numpy.save_file({"weights": weights}, temporary, metadata=metadata)
        log(f"  the converted network is cached for the next time: {len(weights) / 1e6:,.1f} MB in '{converted_dir()}'")
        _evict()


def _evict() -> None:
    """Remove the least recently used files until the rest is within the limit."""
    total = 0
    for path in sorted(converted_dir().glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
        total += path.stat().st_size
        if total > MAX_BYTES:
            path.unlink()


def _digest(xml: bytes, weights: np.ndarray) -> str:
    digest = hashlib.sha256(xml)
    digest.update(weights.data)
    return digest.hexdigest()
