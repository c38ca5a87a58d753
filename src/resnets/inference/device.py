"""The torch device of a name such as `auto`, `cpu` or `cuda:1`."""

import torch

from resnets.errors import UserError


def resolve_device(name: str) -> str:
    """The torch device of `name`: "auto" (a GPU if torch has one, else the CPU), "cpu", "cuda", "cuda:1", "1" or "mps".

    Raises:
        UserError: this machine has no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    device = f"cuda:{name}" if name.isdigit() else name
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        available = ", ".join(available_devices())
        raise UserError(f"`device={name}` is not available on this machine; available: {available}.") from error
    return device


def available_devices() -> list[str]:
    """The names of the devices of this machine: the CPU, the GPUs of CUDA and that of macOS (Metal)."""
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
