"""What an exported file says of itself."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from resnets import __version__
from resnets.weights import checkpoint as checkpoints
from resnets.weights import provenance
from resnets.weights.checkpoint import Checkpoint

# Packages whose version decides what is in a file, by its format.
PACKAGES = {"onnx": ("torch", "onnx", "onnxscript"), "openvino": ("torch", "openvino"), "torch": ("torch",)}
QUANTIZERS = {"onnx": "onnxruntime", "openvino": "nncf"}  # of int8


def metadata(
    checkpoint: Checkpoint,
    file: Path,
    *,
    sha256: str,
    input_kind: str,
    outputs: tuple[str, ...],
    size: tuple[int, int] | None,
    packages: tuple[str, ...],
    precision: str = "fp32",
) -> dict[str, Any]:
    """The metadata of an exported file, as in `resnets.inference.exported.metadata`.

    Args:
        file: the checkpoint that is exported.
        sha256: that of the file.
        input_kind: of the input.
        outputs: their names, in order.
        size: height and width of the input; None where it may have any.
        packages: those that write the file.
        precision: "fp32" or "int8".
    """
    origin = provenance.of_file(checkpoint.provenance, file)
    header = without_paths(checkpoints.to_header(checkpoint)) | {"class_names": list(checkpoint.class_names)}
    return {
        "checkpoint": header,
        "checkpoint_sha256": sha256,
        "input": input_kind,
        "precision": precision,
        "outputs": list(outputs),
        "size": None if size is None else list(size),
        "versions": {"resnets": __version__} | {name: importlib.metadata.version(name) for name in packages},
        "license": provenance.license_(origin),
    }


def without_paths(value: Any) -> Any:
    """The same values for JSON with only the last part of each absolute path, which is of this machine."""
    if isinstance(value, dict):
        return {key: without_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(each) for each in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
