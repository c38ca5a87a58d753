"""Full fp32 on NVIDIA GPUs, where PyTorch's convolutions round the mantissa of fp32 to the 10 bits of TF32 by default."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Compute convolutions and matrix products in IEEE fp32 within the block, and restore the previous settings after it.

    The settings are those of the process, so that other threads see them as well. They change nothing on a CPU, in bf16, or
    on GPUs without TF32 (before Ampere).
    """
    operations = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    previous = [operation.fp32_precision for operation in operations]
    try:
        for operation in operations:
            operation.fp32_precision = "ieee"
        yield
    finally:
        for operation, value in zip(operations, previous, strict=True):
            operation.fp32_precision = value
