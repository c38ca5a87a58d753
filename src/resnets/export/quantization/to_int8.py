"""A classifier in int8; `quantize.py` proves what such a file loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnets.errors import UserError
from resnets.export import to_onnx, to_openvino
from resnets.export.quantization import quantize_onnx, quantize_openvino
from resnets.export.traced_graph import TracedGraph
from resnets.inference.exported.int8_files import ENDINGS, INT8
from resnets.inference.exported.read_exported import OPENVINO
from resnets.message_format import suggestion


def check_format(to: str) -> None:
    """Raise UserError for a format that has no int8."""
    if to not in ENDINGS:
        raise UserError(f"`format` is {' or '.join(ENDINGS)}; received '{to}'.{suggestion(to, ENDINGS)}")


def settings(to: str) -> dict[str, Any]:
    """How a file of the format `to` is quantized."""
    return dict(quantize_openvino.SETTINGS if to == OPENVINO else quantize_onnx.SETTINGS)


def contents(traced: TracedGraph, to: str, images: Sequence[np.ndarray]) -> dict[str, bytes]:
    """A traced classifier in int8, for `write_contents`.

    Args:
        to: the format.
        images: for the calibration, each as the graph receives it, with a first dimension of 1.

    Raises:
        UserError: a package is not installed.
        JobError: the folder of temporary files is full.
    """
    metadata = traced.metadata(to, INT8)
    if to == OPENVINO:
        return to_openvino.to_bytes(quantize_openvino.quantize(traced.openvino_model(), images), metadata)
    return {"": to_onnx.to_bytes(quantize_onnx.quantize(traced.onnx_model(), images), metadata)}
