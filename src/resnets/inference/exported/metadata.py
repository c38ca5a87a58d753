"""The metadata of an exported file: strings by key, which ONNX and OpenVINO hold alike.

resnets   one JSON object, canonical, so that equal values give equal bytes:
              format             1
              checkpoint         the header of the checkpoint: task, class names, preprocessing, fitted values, metrics, ...
              checkpoint_sha256  of the file that was exported
              input              "full", "normalize" or "none": how much of the preprocessing is in the graph (`INPUTS`)
              precision          "fp32" or "int8"
              outputs            the names of the outputs, in order
              size               height and width of the input; null where it may have any
              versions           of the packages that wrote the file
              license            of the weights
names     the class names as a Python dictionary by index, where loaders of other files look for them
imgsz     height and width as a Python list, likewise
"""

import json
from collections.abc import Mapping
from typing import Any

from resnets.errors import UserError

KEY = "resnets"
FORMAT = 1
CERTIFICATE = ".certificate.json"  # after the name of an exported file: what was proved of it
# Outputs of exported classifiers: (N, K), (N, K), pooled (N, C), and heat maps (N, K, h, w).
PROBABILITIES, LOGITS, FEATURES, MAPS = "probabilities", "logits", "features", "maps"
# What the input of an exported graph is.
INPUTS = {
    "full": "uint8 RGB (N, H, W, 3) of any size; resizing, cropping and normalization are in the graph",
    "normalize": "uint8 RGB (N, H, W, 3) of the network's size; normalization is in the graph",
    "none": "float32 (N, C, H, W), normalized",
}
_TYPES = {
    "checkpoint": dict, "checkpoint_sha256": str, "input": str, "precision": str, "outputs": list, "size": list | None,
    "versions": dict, "license": str,
}  # fmt: skip


def encode(values: Mapping[str, Any]) -> dict[str, str]:
    """The strings to store, from the values without `format`."""
    text = json.dumps({"format": FORMAT, **values}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    names = dict(enumerate(values["checkpoint"]["class_names"]))
    return {
        KEY: text,
        "names": repr(names),
        "imgsz": repr(values["size"] or values["checkpoint"]["preprocess"]["size"]),
    }


def decode(text: str | None) -> dict[str, Any]:
    """The values, checked, from the string of the key `resnets`, which is None where the file has none.

    Raises:
        UserError: it is not metadata of resnets; the message is the end of a sentence that begins with the file.
    """
    if text is None:
        raise UserError("was not exported by resnets: it says nothing of its classes and its preprocessing.")
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        values = None
    number = values.get("format") if isinstance(values, dict) else None
    if type(number) is int and number > FORMAT:
        raise UserError(
            f"was exported by a newer resnets (format {number}, this one reads up to {FORMAT}). "
            "Upgrade with: pip install --upgrade resnets"
        )
    if number != FORMAT or type(number) is not int or not _is_complete(values):
        raise UserError("has metadata that are not those of resnets.")
    checked: dict[str, Any] = values
    return checked


def _is_complete(values: Mapping[str, Any]) -> bool:
    if not all(isinstance(values.get(key), kind) for key, kind in _TYPES.items()):
        return False
    outputs, size = values["outputs"], values["size"]
    has_size = size is None or (len(size) == 2 and all(type(side) is int and side > 0 for side in size))
    return values["input"] in INPUTS and outputs != [] and all(isinstance(name, str) for name in outputs) and has_size


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
