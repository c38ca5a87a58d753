"""`.h5` files of Keras: legacy weights, legacy whole models, and the `.weights.h5` of Keras 3.

libhdf5 reads them in a process of its own, with limits on its memory and time; see `hdf5_child.py`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from resnets.errors import JobError, UserError
from resnets.weights import documents, hdf5_child

MAGIC = b"\x89HDF\r\n\x1a\n"
DESCRIPTION = 64 * 2**20  # bytes of JSON from the other process; names, layers and the model's configuration

_CHILD = Path(hdf5_child.__file__)
_MEMORY = 2**30  # bytes of addresses for Python, numpy and h5py, of which about 60 MB are used
_SECONDS = 10
_BYTES_A_SECOND = 20 * 2**20  # slower than any disk with gzip


def read(path: Path, known_as: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors by their paths in the file, below `model_weights` where there is one, and `layers` and the like.

    Args:
        known_as: the file that the message names, when `path` is only a part of it.

    Raises:
        UserError: h5py is missing; or the file has links, data in other files or false claims, or is damaged.
        JobError: the other process cannot be started.
    """
    if importlib.util.find_spec("h5py") is None:
        raise UserError(f"'{known_as or path}' is a file of Keras; reading it needs: pip install 'resnets[keras]'")
    size = path.stat().st_size
    seconds = _SECONDS + size // _BYTES_A_SECOND
    command = [sys.executable, "-P", str(_CHILD), str(path.absolute()), str(_MEMORY + 2 * size), str(seconds)]
    # No plug-ins; and numpy's threads would reserve more addresses than there are.
    environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
    except OSError as error:
        raise JobError(f"The process that reads '{known_as or path}' cannot be started: {error.strerror}.") from None
    assert process.stdout is not None
    late = threading.Timer(2 * seconds, process.kill)
    late.start()
    try:
        tensors, description = _received(process.stdout, size)
        return tensors, _attributes(description, known_as or path)
    except _BrokenError as error:
        process.kill()
        process.wait()
        raise UserError(f"'{known_as or path}' {error}") from None
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


class _BrokenError(Exception):
    """The other process refused, crashed or was stopped; the message continues `'FILE' `."""


def _received(stream: IO[bytes], size: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    damaged = "is damaged: the HDF5 library cannot read it within its limits of memory and time. Fetch it again."
    line = stream.readline(DESCRIPTION)
    if not line.endswith(b"\n"):
        raise _BrokenError(damaged)
    description = json.loads(line)
    if "refused" in description:
        raise _BrokenError(description["refused"])
    entries = description.pop("tensors")
    if sum(nbytes for *_, nbytes in entries) > hdf5_child.RATIO * size + hdf5_child.SLACK:
        raise _BrokenError(damaged)
    tensors = {}
    for name, dtype, shape, nbytes in entries:
        values = np.empty(math.prod(shape), dtype=np.dtype(dtype))
        if values.nbytes != nbytes or _fill(stream, values) < nbytes:
            raise _BrokenError(damaged)
        tensors[name] = torch.from_numpy(values.reshape(shape))
    return tensors, description


def _fill(stream: IO[bytes], values: np.ndarray[Any, Any]) -> int:
    view = values.view(np.uint8).data
    done = 0
    while done < len(view) and (count := stream.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return done


def _attributes(description: dict[str, Any], path: Path) -> dict[str, Any]:
    attributes = {name: value for name, value in description.items() if value}
    if text := attributes.pop("model_config", None):
        attributes["config"] = documents.parse(text.encode("utf-8"), f"The model_config in '{path}'")
    return attributes
