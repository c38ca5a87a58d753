"""The precision of training: fp32 or bf16 (autocast), and which of them this machine computes natively."""

from __future__ import annotations

import contextlib

import torch

from resnets.inference import hardware
from resnets.training.configuration.recipe_builder import ChosenValue


def select_precision(requested: str, device_name: str) -> ChosenValue:
    """Return fp32, or bf16 (autocast) where the chip multiplies bf16 natively; elsewhere it is emulated and slow."""
    if requested != "auto":
        return ChosenValue(requested, "as requested")
    reason = hardware.native_bf16_reason(torch.device(device_name))
    return ChosenValue("bf16", reason) if reason else ChosenValue("fp32", "no native bf16 here")


def autocast(precision_name: str, device_name: str) -> contextlib.AbstractContextManager:
    """Return the autocast context of the precision."""
    if precision_name == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device_name.partition(":")[0], torch.bfloat16)
