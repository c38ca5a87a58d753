"""A folded network in OpenVINO's own form, kept on the disk: converting takes seconds, reading it again half of one.

A file is named by the weights, by the code of every module that computes with them, by the shape of the pictures and by the
versions of what converts; so a network that was trained further is another file. What is in a file is data and no code.
"""

from __future__ import annotations

import contextlib
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

from resnets.atomic import replacing
from resnets.data.builtin import cache_home
from resnets.engine import folding
from resnets.engine.folding import Body
from resnets.errors import JobError
from resnets.models.resnet import ResNet
from resnets.progress import say

LIMIT_BYTES = 2 * 10**9  # of all kept networks; beyond it those that were used least recently go
SUFFIX = ".safetensors"


def model(net: ResNet, shape: tuple[int, ...]) -> Any:
    """The body of `net`, norms folded, as an `openvino.Model` for pictures of `shape` (N, C, h, w), in float32."""
    import openvino

    known = name(net, shape)
    path = home() / f"{known}{SUFFIX}"
    if known and (kept := _read(path)):
        text, weights = kept
        return openvino.Core().read_model(text, openvino.Tensor(weights))
    body = folding.fold(Body(net)).requires_grad_(False).float()
    with torch.no_grad():
        made = openvino.convert_model(torch.export.export(body, (torch.zeros(shape),)))
    if known:
        _keep(path, made)
    return made


def home() -> Path:
    """Where they are kept; it can be removed at any time."""
    return cache_home() / "engines"


def name(net: ResNet, shape: tuple[int, ...]) -> str:
    """What the file of `net` is called; empty where the code of a module cannot be read, and so not be compared."""
    import openvino

    made = hashlib.sha256(repr((shape, torch.__version__, openvino.__version__)).encode())
    for place, module in net.named_modules():
        settings = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        made.update(f"{place} {type(module).__qualname__} {settings}".encode())
    try:
        # The classes of the modules, and the two files that make one graph of them.
        for module in sorted({type(each).__module__ for each in net.modules()} | {folding.__name__, __name__}):
            made.update(Path(str(sys.modules[module].__file__)).read_bytes())
    except (OSError, AttributeError, KeyError):
        return ""
    for place, tensor in net.state_dict().items():
        made.update(f"{place} {tensor.dtype} {tuple(tensor.shape)}".encode())
        made.update(tensor.contiguous().numpy().data)
    return made.hexdigest()[:32]


def _read(path: Path) -> tuple[bytes, np.ndarray] | None:
    """OpenVINO's XML and its weights in bytes; None when there is no such file, or it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get("xml", "").encode()
            weights = file.get_tensor("weights")
            if (file.metadata() or {}).get("sha256") != _digest(text, weights):
                return None
        os.utime(path)
    except (OSError, SafetensorError):
        return None
    return text, weights


def _keep(path: Path, made: Any) -> None:
    """Where it cannot be kept, it is converted again the next time."""
    import openvino

    with contextlib.suppress(OSError, JobError), tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        text, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        openvino.serialize(made, text, weights)
        xml, values = text.read_bytes(), np.fromfile(weights, np.uint8)
        _make_room(len(values))
        with replacing(path) as temporary:
            metadata = {"xml": xml.decode(), "sha256": _digest(xml, values)}
            safetensors.numpy.save_file({"weights": values}, temporary, metadata=metadata)
        say(f"  the converted network is kept for the next time: {len(values) / 1e6:,.1f} MB in '{home()}'")


def _make_room(size: int) -> None:
    """Remove what was used least recently, until `size` more bytes stay within the limit."""
    found = sorted(home().glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
    taken = size + sum(path.stat().st_size for path in found)
    for path in found:
        if taken <= LIMIT_BYTES:
            break
        taken -= path.stat().st_size
        path.unlink()


def _digest(text: bytes, weights: np.ndarray) -> str:
    made = hashlib.sha256(text)
    made.update(weights.data)
    return made.hexdigest()
