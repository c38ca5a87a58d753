"""What the speed of a network depends on: the processor, its features and threads, and the versions of torch and OpenVINO."""

import importlib.metadata
import platform
from pathlib import Path

import torch

from resnets import ranks
from resnets.inference.import_openvino import has_openvino

BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
# On which the sums of int8 products depend: x86 without VNNI saturates them at 16 bits.
INT8_FLAGS = {"avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimd", "asimddp", "i8mm"}


def cpu_flags() -> set[str]:
    """The processor's feature flags as Linux names them; empty on other systems."""
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def cpu_name() -> str:
    """The processor's name as Linux has it; on other systems as Python's `platform` does."""
    return _cpuinfo("model name") or platform.processor()


def native_bf16_reason(device: torch.device) -> str:
    """Why bf16 is fast on `device`, for the user; empty where it is emulated and slow."""
    if device.type == "cuda":
        return "the GPU has it" if torch.cuda.get_device_capability(device)[0] >= 8 else ""
    if device.type == "cpu" and (flags := cpu_flags() & BF16_FLAGS):
        return f"the CPU has {' and '.join(sorted(flags))}"
    return ""


def describe(device: torch.device) -> dict[str, str | int]:
    """What a measured speed depends on besides the network, for a report."""
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": f"{device.type} {chip}",
        "features": " ".join(sorted(cpu_flags() & {"avx2", "avx512f", "avx512_vnni", *BF16_FLAGS})),
        "cores": ranks.cpus_per_rank(),
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
