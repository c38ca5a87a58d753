"""Quantize an ONNX graph by ONNX Runtime, in the QDQ format, which other runtimes and processors read as well."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnets.errors import JobError
from resnets.export.to_onnx import INPUT_NAME
from resnets.inference.optional_packages import import_optional

# `reduce_range`, weights of 7 bits: otherwise processors without VNNI saturate the sum of two products, which are of 16 bits.
SETTINGS = {"method": "onnxruntime", "activations": "uint8", "weights": "int8 per channel", "reduce_range": True}
QUANTIZED = ["Conv", "Add", "Relu", "MaxPool"]  # types of operations; the last layer stays in fp32


def quantize(model: Any, images: Sequence[np.ndarray]) -> Any:
    """An `onnx.ModelProto` of a classifier in int8; its last layer stays in fp32.

    Args:
        model: as `resnets.export.to_onnx.convert` returns it.
        images: for the calibration, each as the model receives it, with a first dimension of 1.

    Raises:
        UserError: onnxruntime is not installed.
        JobError: the folder of temporary files is full.
    """
    quantization = import_optional("onnxruntime.quantization", "quantize")
    onnx = import_optional("onnx", "quantize")
    remaining: Iterator[np.ndarray] = iter(images)

    reader: Any = quantization.CalibrationDataReader

    class Reader(reader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(remaining, None)
            return None if image is None else {INPUT_NAME: image}

    with tempfile.TemporaryDirectory(prefix="resnets-") as folder:
        path = str(Path(folder, "quantized.onnx"))
        try:
            quantization.quantize_static(
                onnx.shape_inference.infer_shapes(model),
                path,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                op_types_to_quantize=QUANTIZED,
            )
            return onnx.load(path)
        except OSError as error:
            raise JobError(f"ONNX Runtime cannot write its files to '{folder}': the disk may be full.") from error
