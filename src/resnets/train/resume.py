"""The whole state of a run in one file, and back: nothing in it can run code.

A state is a safetensors file: the tensors by name, everything else as JSON in the header. It is written to one side and
renamed, so that what is found after a kill is whole; the two newest are kept.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from resnets.atomic import replacing
from resnets.errors import UserError

KEPT_STATES = 2
FORMAT = "resnets-state-1"


def save(folder: Path, steps_done: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write the state after `steps_done` steps and drop all but the newest states.

    Raises:
        JobError: the disk is full or cannot be written to; the older states stay.
    """
    path = folder / f"{steps_done:09d}.safetensors"
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            # One key only: the library writes several in an order that changes from run to run.
            save_file(whole, temporary, metadata={FORMAT: json.dumps(facts)})
        except SafetensorError as error:  # the library wraps what the system said
            raise OSError(str(error).removeprefix("Error while serializing: ")) from error
    for old in _states(folder)[:-KEPT_STATES]:
        old.unlink(missing_ok=True)
    return path


def exists(folder: Path) -> bool:
    """Whether any state was saved."""
    return bool(_states(folder))


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of the newest state.

    Raises:
        UserError: there is none, or it is damaged.
    """
    states = _states(folder)
    if not states:
        raise UserError(f"There is no state to resume from in '{folder}'.")
    try:
        with safe_open(states[-1], framework="pt") as file:
            header = file.metadata() or {}
            if FORMAT not in header:
                raise UserError(f"'{states[-1]}' is no state of this version ({FORMAT}).")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header[FORMAT])  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"'{states[-1]}' is damaged ({error}); remove it to resume from the one before.") from error


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.safetensors"))


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values of an optimizer."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    return tensors, {"param_groups": state["param_groups"]}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": facts["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # in the memory layout that the uninterrupted run has
                values[name] = torch.empty_like(parameter).copy_(value)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The random states of torch on the CPU and on each GPU, and of Python and numpy."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = [name, [int(key) for key in keys], position, has_gauss, gauss]
    return tensors, {"python": random.getstate(), "numpy": numpy_state}


def restore_random(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available() and "cuda0" in tensors:
        torch.cuda.set_rng_state_all([tensors[f"cuda{index}"] for index in range(len(tensors) - 1)])
    version, words, gauss = facts["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, gauss = facts["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
