"""A folded network in OpenVINO's own form, kept on the disk: converting takes seconds, reading it again far less.

A file is named by the weights, by the code of every module that computes with them, by the shape of the images and by the
versions of what converts; so a network that was trained further is another file. What is in a file is data and no code.
"""

from __future__ import annotations

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

from resnets.atomic_write import replace_file
from resnets.errors import JobError
from resnets.files import cache_dir
from resnets.inference import fold_batchnorm, hardware
from resnets.inference.fold_batchnorm import Body
from resnets.models.resnet import ResNet
from resnets.progress import log

LIMIT_BYTES = 2 * 10**9  # of all kept networks; beyond it those that were used least recently go
SUFFIX = ".safetensors"


def model(net: ResNet, shape: tuple[int, ...]) -> Any:
    """The body of `net`, norms folded, as an `openvino.Model` for images of `shape` (N, C, h, w), in float32."""
    openvino = hardware.openvino()
    known = name(net, shape)
    path = home() / f"{known}{SUFFIX}"
    if known and (kept := _read(path)):
        text, weights = kept
        with contextlib.suppress(RuntimeError):  # OpenVINO's word for what it cannot read
            return core().read_model(text, openvino.Tensor(weights))
    body = fold_batchnorm.fold(Body(net)).requires_grad_(False).float()
    with torch.no_grad():
        made = openvino.convert_model(torch.export.export(body, (torch.zeros(shape),)))
    if known:
        _keep(path, made)
    return made


@functools.cache
def core() -> Any:
    """OpenVINO's, one for the whole process.

    Each loads a plugin that gives the process another stack for signals, and takes it away again at its end. Where several end
    in another order than the reverse, the stack that is left is gone, and the next signal (Ctrl-C, or a child that ends)
    kills the process with a segmentation fault (openvino 2026.4).
    """
    openvino = hardware.openvino()
    return openvino.Core()


def home() -> Path:
    """The folder of the converted networks; it can be removed at any time."""
    return cache_dir() / "openvino"


def name(net: ResNet, shape: tuple[int, ...]) -> str:
    """What the file of `net` is called; empty where what it computes cannot be told from its tensors, settings and code."""
    openvino = hardware.openvino()
    made = hashlib.sha256(repr((shape, torch.__version__, openvino.__version__)).encode())
    code = {fold_batchnorm.__name__, __name__}  # the two that make one graph of the modules
    for place, module in net.named_modules():
        settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        if module._forward_hooks or module._forward_pre_hooks or any(map(torch.is_tensor, settings.values())):
            return ""
        made.update(f"{place} {type(module).__qualname__} {settings}".encode())
        code |= {parent.__module__ for parent in type(module).__mro__ if parent is not object}
    try:
        for module_name in sorted(code):
            made.update(Path(str(sys.modules[module_name].__file__)).read_bytes())
    except (OSError, AttributeError, KeyError):
        return ""
    for place, tensor in (*net.named_parameters(), *net.named_buffers()):
        made.update(f"{place} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.detach().contiguous().numpy().data)
    return made.hexdigest()[:32]


def _read(path: Path) -> tuple[bytes, np.ndarray] | None:
    """OpenVINO's XML and its weights in bytes; None when there is no such file, or it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("xml", "").encode()
            weights = file.get_tensor("weights")
            if (file.metadata() or {}).get("sha256") != _digest(text, weights):
                return None
    except (OSError, SafetensorError):
        return None
    with contextlib.suppress(OSError):  # another user's, or on a disk that is read only
        os.utime(path)
    return text, weights


def _keep(path: Path, made: Any) -> None:
    """Where it cannot be kept, it is converted again the next time."""
    openvino = hardware.openvino()
    # On a full disk openvino raises RuntimeError, and safetensors an error of its own.
    problems = (OSError, JobError, RuntimeError, SafetensorError)
    with contextlib.suppress(*problems), tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        text, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        openvino.serialize(made, text, weights)
        xml, values = text.read_bytes(), np.fromfile(weights, np.uint8)
        with replace_file(path) as temporary:
            metadata = {"xml": xml.decode(), "sha256": _digest(xml, values)}
            safetensors.numpy.save_file({"weights": values}, temporary, metadata=metadata)
        log(f"  the converted network is kept for the next time: {len(values) / 1e6:,.1f} MB in '{home()}'")
        _limit()


def _limit() -> None:
    """Remove what was used least recently, until the rest stays within the limit."""
    taken = 0
    for path in sorted(home().glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True):
        taken += path.stat().st_size
        if taken > LIMIT_BYTES:
            path.unlink()


def _digest(text: bytes, weights: np.ndarray) -> str:
    made = hashlib.sha256(text)
    made.update(weights.data)
    return made.hexdigest()
