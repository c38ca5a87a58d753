"""The program of the child process that `sandbox.py` starts; its stdin is the file to read.

It executes nothing from the file. It writes a safetensors file: the tensors by number, and as JSON in the metadata their names in
order and the description, or why the file is refused.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from resnets import atomic_write
from resnets.message_format import printable
from resnets.weights.readers.errors import RATIO, RefusedError

UNWRITTEN = 73  # exit code: the result cannot be written
DESCRIPTION, REFUSED = "description", "refused"  # keys of the metadata
MEMORY = 2**30  # bytes of addresses, in addition to the imports and six times the size of the file
SLACK = 32 * 2**20  # bytes of the result in addition to the tensors


class UnwrittenError(Exception):
    """The result cannot be written: the disk is full, or a limit is reached."""


def main() -> None:
    reader, path, out, size, seconds = sys.argv[1:]
    read = _reader(reader)
    _limit(int(size), int(seconds))
    try:
        with open(0, "rb", closefd=False) as file:
            answer(read, file, path, Path(out), max_bytes=_max_bytes(int(size)))
    except UnwrittenError:
        os._exit(UNWRITTEN)
    os._exit(0)  # libhdf5 may crash in its cleanup after a damaged file; the result is written


def answer(read: Callable[[BinaryIO, str], tuple[dict[str, Any], dict[str, Any]]], file: BinaryIO, path: str, out: Path,
           max_bytes: float = float("inf")) -> None:  # fmt: skip
    """Write what `read` returns for `file`, or why it is refused.

    Args:
        max_bytes: that the result may have.

    Raises:
        UnwrittenError: `out` cannot be written, whatever the file is.
    """
    try:
        tensors, description = read(file, path)
        values = {str(number): value for number, value in enumerate(tensors.values())}
        words = json.dumps({**description, "names": list(tensors)})
        if sum(value.nbytes for value in values.values()) + len(words) > max_bytes:
            raise RefusedError(
                "is damaged: it claims far more tensors than a file of its size holds. Download the file again."
            )
        _write(out, values, {DESCRIPTION: words})
    except RefusedError as error:
        _write(out, {}, {REFUSED: str(error)})
    except UnwrittenError:
        raise
    except Exception as error:  # of any type: the libraries raise nearly every one over a damaged file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        _write(out, {}, {REFUSED: f"is damaged ({printable(reason)}). Download the file again."})


def _reader(name: str) -> Callable[[BinaryIO, str], tuple[dict[str, Any], dict[str, Any]]]:
    """The reader of that name, with its imports, which do not count towards the limits."""
    if name == "pickle":
        from resnets.weights.readers import torch_file

        return torch_file.read
    from resnets.weights.readers import keras_h5, keras_zip

    return keras_zip.read if name == "keras" else keras_h5.read


def _limit(size: int, seconds: int) -> None:
    """Limit memory, written bytes and processor time to what a file of `size` bytes can need."""
    try:
        import resource
    except ImportError:  # Windows has no such limits; the time is kept by the parent
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + 1 + seconds,
        resource.RLIMIT_FSIZE: _max_bytes(size) + SLACK,
        resource.RLIMIT_CORE: 0,
    }
    with contextlib.suppress(OSError):  # only Linux reports the number of addresses in use
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MEMORY + 6 * size
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _max_bytes(size: int) -> int:
    """Bytes of tensors that a file of `size` bytes may hold."""
    return RATIO * size + SLACK


def _write(out: Path, values: dict[str, Any], metadata: dict[str, str]) -> None:
    torch_like = any(type(value).__module__ != "numpy" for value in values.values())
    library = importlib.import_module("safetensors.torch" if torch_like else "safetensors.numpy")
    try:
        library.save_file(values, out, metadata)
    except Exception as error:
        if reason := atomic_write.write_error_reason(error):
            raise UnwrittenError(reason) from error
        raise
