"""Choose device, precision, worker processes and threads for this machine, each with its reason."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from resnets import ranks
from resnets.errors import JobError, UserError, pluralize
from resnets.inference import hardware
from resnets.inference.device import resolve_device


class Choice(NamedTuple):
    """A chosen value and the reason."""

    value: object
    reason: str


def select_device(requested: str) -> Choice:
    """Return the name of the device as torch has it.

    Args:
        requested: `auto`, `cpu`, `cuda`, `cuda:1`, `0` (the first GPU) or `mps`.

    Raises:
        UserError: this machine does not have the device.
    """
    device = resolve_device(requested)
    if requested != "auto":
        return Choice(device, "as requested")
    return Choice(device, "torch finds no GPU" if device == "cpu" else torch.cuda.get_device_name())


def select_precision(requested: str, device_name: str) -> Choice:
    """Return fp32, or bf16 (autocast) where the chip multiplies bf16 natively; elsewhere it is emulated and slow."""
    if requested != "auto":
        return Choice(requested, "as requested")
    reason = hardware.native_bf16(torch.device(device_name))
    return Choice("bf16", reason) if reason else Choice("fp32", "no native bf16 here")


def select_workers(device_name: str) -> Choice:
    """Return the number of worker processes that load and augment images.

    On a CPU, augmentation takes a twentieth of the time of a training step (ResNet-18 at 128 pixels, two cores), so that few
    workers suffice; a GPU needs all cores.
    """
    num_cpus = ranks.cpus_per_rank()
    if device_name == "cpu":
        return Choice(max(1, num_cpus // 8), f"{pluralize(num_cpus, 'processor')}, which the network needs itself")
    return Choice(min(num_cpus, 8), f"{pluralize(num_cpus, 'processor')} for the GPU's images")


def select_threads(device_name: str) -> Choice | None:
    """Return the number of threads of each process under torchrun, which sets it to 1; None without torchrun."""
    if ranks.world_size() == 1 or device_name != "cpu":
        return None
    return Choice(ranks.cpus_per_rank(), f"one of {ranks.local_world_size()} processes")


def autocast(precision_name: str, device_name: str) -> contextlib.AbstractContextManager:
    """Return the autocast context of the precision."""
    if precision_name == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device_name.partition(":")[0], torch.bfloat16)


def check_compiler() -> None:
    """Raise UserError where torch.compile has no C++ compiler, before anything else is done for a run."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise UserError(
            "`speed.compile=true` needs a C++ compiler, and neither g++ nor the one that the variable CXX names was found. "
            "Install one, or leave the setting out."
        ) from error


@contextlib.contextmanager
def explain_compile_errors(enabled: bool) -> Iterator[None]:
    """Turn an error of torch.compile within the block into a JobError of one line."""
    if not enabled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2])[:200].rstrip(". ") or type(error).__name__
        raise JobError(
            f"torch.compile cannot compile this network: {reason}. Leave out `speed.compile=true`."
        ) from error


def seed_everything(seed: int) -> None:
    """Seed the random generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def use_deterministic_algorithms() -> None:
    """Make torch raise on operations whose result depends on the order of threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this set
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
