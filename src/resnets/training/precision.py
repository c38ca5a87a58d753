"""The precision of training, and the settings of a GPU for it."""

import contextlib
from collections.abc import Iterator

import torch

from resnets.inference import hardware, tf32
from resnets.tasks.base import ChosenValue

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def select_precision(requested: str, device_name: str) -> ChosenValue:
    """Return the precision for this device: bf16 where the chip multiplies it natively, else on a GPU fp16, else fp32.

    fp32 is IEEE fp32; tf32 is fp32 whose products have 10 bits of mantissa, on GPUs that have it; bf16 and fp16 are autocast,
    fp16 with scaled gradients.
    """
    if requested != "auto":
        return ChosenValue(requested, "as requested")
    reason = hardware.native_bf16_reason(torch.device(device_name))
    if reason:
        return ChosenValue("bf16", reason)
    if device_name.startswith("cuda"):
        return ChosenValue("fp16", "no native bf16 on this GPU")
    return ChosenValue("fp32", "no native bf16 here")


def autocast(precision_name: str, device_name: str) -> contextlib.AbstractContextManager:
    """Return the autocast context of the precision."""
    if precision_name not in DTYPES:
        return contextlib.nullcontext()
    return torch.autocast(device_name.partition(":")[0], DTYPES[precision_name])


def grad_scaler(precision_name: str, device_name: str) -> torch.amp.GradScaler:
    """Return the scaler of the gradients, which does nothing except for fp16."""
    return torch.amp.GradScaler(device_name.partition(":")[0], enabled=precision_name == "fp16")


@contextlib.contextmanager
def training_settings(precision_name: str, device_name: str, *, deterministic: bool) -> Iterator[None]:
    """Settings of a GPU within the block, as PyTorch's performance guide advises: TF32 except for fp32, and cuDNN's search for
    the fastest convolution of each shape unless the run is deterministic. Nothing changes on other devices.
    """
    if not device_name.startswith("cuda"):
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = torch.backends.cudnn.benchmark, matmul.fp32_precision
    torch.backends.cudnn.benchmark = not deterministic
    try:
        with tf32.disabled(device_name) if precision_name == "fp32" else contextlib.nullcontext():
            if precision_name != "fp32":
                matmul.fp32_precision = "tf32"  # that of convolutions is torch's default
            yield
    finally:
        torch.backends.cudnn.benchmark, matmul.fp32_precision = before
