"""Save and load the training state in one file; loading runs no code.

A state file is a safetensors file with the tensors by name, everything else as JSON in the header, and a checksum over both.
It is written under a temporary name and renamed, so that a killed run leaves no incomplete file. The two latest are kept;
the older one is used when the newer one is damaged.
"""

import contextlib
import hashlib
import json
import random
import shlex
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
FORMAT_PREFIX = "resnets-state-"
FORMAT = f"{FORMAT_PREFIX}6"
DIGEST_LENGTH = 64  # hexadecimal digits of SHA-256


def save(folder: Path, num_steps: int, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write the state after `num_steps` steps and delete all but the latest state files.

    Raises:
        JobError: the disk is full or cannot be written to; the older state files stay.
    """
    path = folder / f"{num_steps:09d}.safetensors"
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata)
    with replace_file(path) as temporary:
        try:
            # A single key, since safetensors writes several in an order that changes from run to run.
            save_file(whole, temporary, metadata={FORMAT: _digest(whole, text) + text})
        except SafetensorError as error:  # safetensors wraps the error of the system
            raise OSError(str(error).removeprefix("Error while serializing: ")) from error
    for old in list_states(folder)[:-NUM_KEPT_STATES]:
        old.unlink(missing_ok=True)
    return path


def list_states(folder: Path) -> list[Path]:
    """Return the state files in the order of their steps."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and metadata of the latest intact state file; damaged files are logged and renamed.

    Raises:
        UserError: there is no state file, all are damaged, or the latest one has the format of another version of resnets.
    """
    damaged: list[tuple[Path, str]] = []
    for path in reversed(list_states(folder)):
        try:
            content = _read(path)
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError) as error:
            damaged.append((path, str(error)))
            continue
        for damaged_path, reason in damaged:
            log(f"'{damaged_path}' is damaged ({reason}): using the state before it, after step {int(path.stem)}")
            damaged_path.replace(damaged_path.with_suffix(".damaged"))  # or it would stay the latest one
        return content
    if damaged:
        raise UserError("All saved states are damaged: " + "; ".join(f"'{path}': {why}" for path, why in damaged) + ".")
    raise UserError(f"There is no state to resume from in '{folder}'.")


def read_progress(folder: Path) -> dict[str, Any] | None:
    """Return the progress in the latest state file by its header alone, unchecked; None where there is none.

    Raises:
        UserError: the latest state file has the format of another version of resnets.
    """
    for path in reversed(list_states(folder)):
        try:
            with safe_open(path, framework="pt") as file:
                return json.loads(_header(path, file.metadata() or {})[DIGEST_LENGTH:])["state"]
        except UserError:
            raise
        except (SafetensorError, OSError, ValueError, KeyError):
            continue
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        header = _header(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    digest, text = header[:DIGEST_LENGTH], header[DIGEST_LENGTH:]
    if digest != _digest(tensors, text):
        raise ValueError("its checksum does not match")
    return tensors, json.loads(text)


def _header(path: Path, metadata: Mapping[str, str]) -> str:
    """Return the digest and the text in the metadata of a state file."""
    if FORMAT in metadata:
        return metadata[FORMAT]
    if any(key.startswith(FORMAT_PREFIX) for key in metadata):
        raise UserError(f"'{path}' was saved by another version of resnets: resume the run with that version.")
    raise ValueError(f"not a state file of format {FORMAT}")


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of all content; safetensors itself only checks lengths."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@contextlib.contextmanager
def explain_save_errors(run: Path) -> Iterator[None]:
    """Add to a JobError of the block which state was saved last, and how to resume from it."""
    try:
        yield
    except JobError as error:
        paths = list_states(run / "state")
        saved = f"The state after step {int(paths[-1].stem)} was saved" if paths else "No state was saved before"
        raise JobError(f"{error} {saved}; continue with `resume={shlex.quote(str(run))}`") from error


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix.`, under their names without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of an optimizer as tensors and as values for JSON."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{name}": value
        for index, values in state["state"].items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }
    return tensors, {"param_groups": state["param_groups"]}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": metadata["param_groups"]})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:  # in the memory layout of the uninterrupted run
                values[name] = torch.empty_like(parameter).copy_(value)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states of the random generators of torch (CPU and each GPU), Python and numpy."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    numpy_state = [name, [int(key) for key in keys], position, has_gauss, gauss]
    return tensors, {"python": random.getstate(), "numpy": numpy_state}


def restore_random_state(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    torch.set_rng_state(tensors["cpu"])
    if torch.cuda.is_available() and "cuda0" in tensors:
        here = min(len(tensors) - 1, torch.cuda.device_count())  # the run may have been started on more GPUs
        torch.cuda.set_rng_state_all([tensors[f"cuda{index}"] for index in range(here)])
    version, words, gauss = metadata["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, gauss = metadata["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
