"""Choose the device, the worker processes and the threads for this machine, each with its reason."""

import torch

from resnets import ranks
from resnets.inference.device import resolve_device
from resnets.message_format import pluralize
from resnets.tasks.base import ChosenValue


def select_device(requested: str) -> ChosenValue:
    """Return the name of the device as torch has it.

    Args:
        requested: `auto`, `cpu`, `cuda`, `cuda:1`, `0` (the first GPU) or `mps`.

    Raises:
        UserError: this machine does not have the device.
    """
    device = resolve_device(requested)
    if requested != "auto":
        return ChosenValue(device, "as requested")
    return ChosenValue(device, "torch finds no GPU" if device == "cpu" else torch.cuda.get_device_name())


def select_workers(device_name: str) -> ChosenValue:
    """Return the number of worker processes that load and augment images.

    On a CPU, augmentation takes a twentieth of the time of a training step (ResNet-18 at 128 pixels, two cores), so that few
    workers suffice; a GPU needs all cores.
    """
    num_cpus = ranks.cpus_per_rank()
    if device_name == "cpu":
        return ChosenValue(max(1, num_cpus // 8), f"{pluralize(num_cpus, 'processor')}, which the network needs itself")
    return ChosenValue(min(num_cpus, 8), f"{pluralize(num_cpus, 'processor')} for the GPU's images")


def select_threads(device_name: str) -> ChosenValue | None:
    """Return the number of threads of each process under torchrun, which sets it to 1; None without torchrun."""
    if ranks.world_size() == 1 or device_name != "cpu":
        return None
    return ChosenValue(ranks.cpus_per_rank(), f"one of {ranks.local_world_size()} processes")
