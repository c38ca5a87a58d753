"""Quantize a graph of OpenVINO by NNCF."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from resnets.disable_telemetry import telemetry_disabled
from resnets.inference.optional_packages import import_optional

# Processors with AVX2 or AVX-512 but without VNNI add two products in 16 bits and saturate; with the fix, weights have 7 bits.
# On others it costs little, and a file may be moved to such a processor, so it is always on.
# The ranges of feature maps are those of all images: nncf's default, the mean of the largest values of each image, cuts off what
# is larger, and changed logits four times as much (CIFAR ResNet-20, 2,000 images).
SETTINGS = {"method": "nncf", "overflow_fix": "enable", "ranges": "minmax", "fp32": "first convolution, last layer"}


def quantize(model: Any, images: Sequence[np.ndarray]) -> Any:
    """An `openvino.Model` of a classifier in int8; its first convolution and its last layer stay in fp32.

    Args:
        model: as `resnets.export.to_openvino.convert` returns it; it is not changed.
        images: for the calibration, each as the model receives it, with a first dimension of 1.

    Raises:
        UserError: nncf is not installed.
    """
    with telemetry_disabled(), _without_warnings():
        nncf = import_optional("nncf", "quantize")
        ranges = import_optional("nncf.quantization.range_estimator", "quantize")
        by_type: dict[str, list[str]] = {"Convolution": [], "MatMul": []}
        for each in model.get_ordered_ops():
            by_type.setdefault(each.get_type_name(), []).append(each.get_friendly_name())
        in_fp32 = [*by_type["Convolution"][:1], *by_type["MatMul"][-1:]]
        with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
            return nncf.quantize(
                model,
                nncf.Dataset(images),
                subset_size=len(images),
                ignored_scope=nncf.IgnoredScope(names=in_fp32),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=nncf.OverflowFix.ENABLE,
                    activations_range_estimator_params=ranges.RangeEstimatorParametersSet.MINMAX,
                ),
            )


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Without what nncf logs to stdout, and what torch logs about compilers that nncf looks for."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
