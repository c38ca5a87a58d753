"""What the machine can do fast, and the reason for each choice."""

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


class Choice(NamedTuple):
    """A value that was chosen for the user, and why."""

    value: object
    reason: str


def select_device(asked: str) -> Choice:
    """`auto`, `cpu`, `cuda`, `cuda:1`, `0` (the first GPU) or `mps`, as torch calls it.

    Raises:
        UserError: a device that this machine has not.
    """
    if asked == "auto":
        if torch.cuda.is_available():
            return Choice("cuda", torch.cuda.get_device_name())
        return Choice("cpu", "there is no GPU that torch can use")
    name = f"cuda:{asked}" if asked.isdigit() else asked
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])
        raise UserError(f"There is no device '{asked}' here; there is: {here}.") from error
    return Choice(name, "as asked")


def select_precision(asked: str, device_name: str) -> Choice:
    """fp32, or bf16 autocast where the chip multiplies bf16 natively (elsewhere it is emulated, and slow)."""
    if asked != "auto":
        return Choice(asked, "as asked")
    reason = hardware.native_bf16(torch.device(device_name))
    return Choice("bf16", reason) if reason else Choice("fp32", "no native bf16 here")


def select_workers(device_name: str) -> Choice:
    """How many processes prepare the images.

    Varying an image takes a twentieth of the time of a training step on a CPU (ResNet-18 at 128 pixels, two cores), so
    that few processes suffice there; a GPU has to be fed by all cores.
    """
    here = ranks.cpus_per_rank()
    if device_name == "cpu":
        return Choice(max(1, here // 8), f"{pluralize(here, 'processor')}, which the network needs itself")
    return Choice(min(here, 8), f"{pluralize(here, 'processor')} for the GPU's images")


def select_threads(device_name: str) -> Choice | None:
    """How many threads compute, where torch cannot know it: torchrun gives each of its processes one."""
    if ranks.world_size() == 1 or device_name != "cpu":
        return None
    return Choice(ranks.cpus_per_rank(), f"the share of each of {ranks.local_world_size()} processes")


def autocast(precision_name: str, device_name: str) -> contextlib.AbstractContextManager:
    """The context in which the network runs."""
    if precision_name == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device_name.partition(":")[0], torch.bfloat16)


def check_compiler() -> None:
    """Raises UserError where torch.compile has no C++ compiler, before anything else is done for a run."""
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise UserError(
            "`speed.compile=true` needs a C++ compiler, and there is neither the one that the variable CXX names nor g++. "
            "Install one, or leave the setting out."
        ) from error


@contextlib.contextmanager
def explain_compile_errors(asked: bool) -> Iterator[None]:
    """A block in which torch.compile may compile; where it cannot, its pages of text become a JobError of one line."""
    if not asked:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = " ".join(lines[:2])[:200].rstrip(". ") or type(error).__name__
        raise JobError(f"torch.compile cannot compile this network: {said}. Leave out `speed.compile=true`.") from error


def seed_everything(seed: int) -> None:
    """Set the random state of every library that a run may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def use_deterministic_algorithms() -> None:
    """Let torch refuse operations whose result depends on the order of threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this set
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
