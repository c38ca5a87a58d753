"""Run a parser that was not made for hostile files in a child process with limits on memory, disk and time.

The child process gets the open file and returns the tensors as a safetensors file; its program is `sandbox_child.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from resnets.errors import JobError, UserError
from resnets.weights.readers.sandbox_child import DESCRIPTION, REFUSED, UNWRITTEN

SECONDS = 10  # of processor time, in addition to the imports
BYTES_A_SECOND = 20 * 2**20  # slower than any disk with gzip
IMPORTS = 120  # seconds that a busy machine may take to start Python and import torch

_ROOT = Path(__file__).parents[3]  # where `resnets` is imported from
_PROGRAM = "from resnets.weights.readers.sandbox_child import main; main()"
_OVER = "is damaged: it cannot be read within the limits of memory and time. Download the file again."


def read(opened: IO[bytes], path: Path, reader: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in `opened`, in the order of the file, and the description that `reader` returns.

    Args:
        path: of the file, for messages.
        reader: "pickle", "h5" or "keras".

    Raises:
        UserError: the file is refused, or exceeds the limits.
        JobError: the process cannot be started, or there is no space for temporary files.
    """
    size = os.fstat(opened.fileno()).st_size
    seconds = SECONDS + size // BYTES_A_SECOND
    # A result on Windows cannot be removed as long as its tensors are mapped.
    with tempfile.TemporaryDirectory(prefix="resnets-", ignore_cleanup_errors=True) as folder:
        out = Path(folder) / "tensors.safetensors"
        arguments = [reader, str(path.absolute()), str(out), str(size), str(seconds)]
        _run(opened, path, arguments, IMPORTS + 4 * seconds)
        try:
            with safe_open(out, framework="pt") as file:
                metadata = file.metadata()
                if REFUSED in metadata:
                    raise UserError(f"'{path}' {metadata[REFUSED]}")
                description: dict[str, Any] = json.loads(metadata[DESCRIPTION])
                names = description.pop("names")
                return {name: file.get_tensor(str(i)) for i, name in enumerate(names)}, description
        except (FileNotFoundError, SafetensorError):  # the process was terminated
            raise UserError(f"'{path}' {_OVER}") from None


def _run(opened: IO[bytes], path: Path, arguments: list[str], timeout: float) -> None:
    opened.seek(0)
    try:
        done = subprocess.run([sys.executable, "-P", "-c", _PROGRAM, *arguments], stdin=opened, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=_environment(os.environ), timeout=timeout, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(f"'{path}' {_OVER}") from None
    except OSError as error:
        raise JobError(f"The process that reads '{path}' cannot be started: {error.strerror}.") from None
    if done.returncode == UNWRITTEN:
        raise JobError(
            f"The tensors of '{path}' cannot be written into the temporary folder '{tempfile.gettempdir()}', which may be full. "
            "Free some space there, or set TMPDIR to another folder."
        )


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the child: no HDF5 plug-ins, and one thread, since more would reserve too many addresses."""
    path = os.pathsep.join([str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return {
        **environment,
        "PYTHONPATH": path,
        "HDF5_PLUGIN_PRELOAD": "::",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "0",  # it refuses every unpickler but torch's own
    }
