"""What decides how fast a network is here: the processor, its threads, and the versions of what computes."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
from pathlib import Path

import torch

from resnets import processes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def cpu_flags() -> set[str]:
    """What the processor can do, in Linux' words; empty elsewhere."""
    return set(_cpuinfo("flags").split())


def keep_memory() -> None:
    """Let this process keep large pieces of memory that it frees, instead of fetching them anew for the next batch.

    Feature maps are tens of MiB, which glibc by default gives back to the system at once; the system then has to clear them
    page by page. ResNet-50 at batch 16 on two cores: 21 pictures/s without, 36 with (fp32); 62 and 76 (bf16). Whoever has
    set glibc's own variables keeps what he set; elsewhere than with glibc nothing happens.
    """
    if any(name in os.environ for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def native_bf16(device: torch.device) -> str:
    """Why bf16 is fast on `device`; empty where it is emulated, and slow."""
    if device.type == "cuda":
        return "the GPU has it" if torch.cuda.get_device_capability(device)[0] >= 8 else ""
    if device.type == "cpu" and (flags := cpu_flags() & BF16_FLAGS):
        return f"the CPU has {' and '.join(sorted(flags))}"
    return ""


def has_openvino() -> bool:
    return importlib.util.find_spec("openvino") is not None


def identity(device: torch.device) -> dict[str, str | int]:
    """All that a measured speed depends on beside the network."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpuinfo("model name")
    return {
        "device": f"{device.type} {chip or platform.processor()}",
        "features": " ".join(sorted(cpu_flags() & {"avx2", "avx512f", "avx512_vnni", *BF16_FLAGS})),
        "cores": processes.cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "openvino": importlib.metadata.version("openvino") if has_openvino() else "",
    }


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == field), "")
