"""The whole state of a run in one file, and back: nothing in it can run code.

A state is a safetensors file: the tensors by name, everything else as JSON in the header, with a digest over both. It
is written to one side and renamed, so that what is found after a kill is whole; the two newest are kept, and the older
one serves where the newer one was damaged since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from resnets.atomic_write import replace_file
from resnets.errors import JobError, UserError
from resnets.progress import log

NUM_KEPT_STATES = 2
FORMAT = "resnets-state-3"
DIGEST_LENGTH = 64  # hexadecimal digits of SHA-256


def save(folder: Path, steps_done: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Path:
    """Write the state after `steps_done` steps and drop all but the newest states.

    Raises:
        JobError: the disk is full or cannot be written to; the older states stay.
    """
    path = folder / f"{steps_done:09d}.safetensors"
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    with replace_file(path) as temporary:
        try:
            # One key only: the library writes several in an order that changes from run to run.
            save_file(whole, temporary, metadata={FORMAT: _digest(whole, text) + text})
        except SafetensorError as error:  # the library wraps what the system said
            raise OSError(str(error).removeprefix("Error while serializing: ")) from error
    for old in list_states(folder)[:-NUM_KEPT_STATES]:
        old.unlink(missing_ok=True)
    return path


def list_states(folder: Path) -> list[Path]:
    """The files of the states that were saved, the newest one last."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts of the newest state that is whole; damaged ones are named, and set aside under another name.

    Raises:
        UserError: there is no state, or none is whole.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(list_states(folder)):
        try:
            content = _read(path)
        except (SafetensorError, OSError, ValueError) as error:
            damaged.append((path, str(error)))
            continue
        for each, reason in damaged:
            log(f"'{each}' is damaged ({reason}): the state before it is used, after step {int(path.stem)}")
            each.replace(each.with_suffix(".damaged"))  # it would count as the newest for ever
        return content
    if damaged:
        raise UserError("No saved state is whole: " + "; ".join(f"'{path}': {why}" for path, why in damaged) + ".")
    raise UserError(f"There is no state to resume from in '{folder}'.")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(FORMAT)
        if header is None:
            raise ValueError(f"no state of this version, {FORMAT}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    digest, text = header[:DIGEST_LENGTH], header[DIGEST_LENGTH:]
    if digest != _digest(tensors, text):
        raise ValueError("its content is not what was saved")
    return tensors, json.loads(text)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 over everything, since the format itself only notices wrong lengths."""
    made = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        made.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        made.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return made.hexdigest()


@contextlib.contextmanager
def explain_save_errors(run: Path) -> Iterator[None]:
    """When something cannot be saved within the block, the error says what stands and how the run goes on."""
    try:
        yield
    except JobError as error:
        there = list_states(run / "state")
        what = f"The state after step {int(there[-1].stem)} is whole" if there else "No state was saved before"
        raise JobError(f"{error} {what}; go on with `resume={run}`") from error


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
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


def restore_random_state(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available() and "cuda0" in tensors:
        here = min(len(tensors) - 1, torch.cuda.device_count())  # the run may have begun where there were more
        torch.cuda.set_rng_state_all([tensors[f"cuda{index}"] for index in range(here)])
    version, words, gauss = facts["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, gauss = facts["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
