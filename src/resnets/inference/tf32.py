"""Full fp32 on NVIDIA GPUs, where PyTorch's convolutions round the mantissa of fp32 to the 10 bits of TF32 by default."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

_lock = threading.Lock()
_open_blocks = 0
_restore: Callable[[], None] | None = None  # what ends the outermost block does


@contextlib.contextmanager
def disabled(device: torch.device | str) -> Iterator[None]:
    """Compute convolutions in IEEE fp32 within the block; nothing changes unless `device` is a GPU.

    The settings belong to the process, so other threads see them as well. After the last of several blocks, in whatever
    threads, they are as they were before the first, set explicitly: a later change of `torch.backends.fp32_precision` does
    not reach them. Matrix products use IEEE fp32 by default. bf16 and GPUs without TF32 (before Ampere) are not affected.
    """
    global _open_blocks, _restore
    if torch.device(device).type != "cuda":
        yield
        return
    with _lock:
        _open_blocks += 1
        if _open_blocks == 1:
            _restore = _set_ieee()
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if not _open_blocks and _restore is not None:
                _restore()


def _set_ieee() -> Callable[[], None]:
    """Set the precision of convolutions, and return a function that restores it.

    PyTorch has an older setting, `cudnn.allow_tf32`, and a newer one for each operation, and refuses to read the older one
    where they contradict each other. So both are set.
    """
    cudnn: Any = torch.backends.cudnn
    precisions = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    try:
        allowed = cudnn.allow_tf32
    except RuntimeError:  # the caller has set the newer ones to contradict it
        allowed = False
    if allowed:
        cudnn.allow_tf32 = False
    cudnn.conv.fp32_precision = "ieee"

    def restore() -> None:
        if allowed:
            cudnn.allow_tf32 = True
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = precisions

    return restore
