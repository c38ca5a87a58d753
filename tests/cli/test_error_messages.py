"""The message for an error; an error of a library is not called a bug of resnets."""

from __future__ import annotations

import errno
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import torch
from PIL import Image

from resnets.cli import error_messages


def raised(make: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        make()
    return caught.value


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "The GPU is out of memory (2.00 GiB"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), "The GPU is out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "The GPU is out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"), "machine is out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "This machine is out of memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "A worker process was killed or has"),
        (RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space"), "shared memory of this machine"),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer"), "have lost their connection"),
        (safetensors.SafetensorError("I/O error: (os error 28)"), "No space left on device. Free"),
        (safetensors.SafetensorError("header too small"), "safetensors raised SafetensorError"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many files are open"),
        (RuntimeError("can't start new thread"), "No more threads"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"), "No more threads"),
        (PermissionError(errno.EACCES, "Permission denied", "igloo/1.jpg"), "Permission denied: 'igloo/1.jpg'. Check"),
        (PermissionError(errno.EACCES, "Permission denied", "out of memory.jpg"), "Permission denied: 'out of memory"),
        (zipfile.BadZipFile("not a zip: 'gloo/shared memory.zip'"), "zipfile raised BadZipFile"),
        (ModuleNotFoundError("No module named 'webdataset'", name="webdataset"), "pip install webdataset"),
    ],
)  # fmt: skip
def test_a_known_error_has_advice(error: Exception, line: str) -> None:
    message, code = error_messages.explain(error)
    assert line in message
    assert "bug" not in message
    assert "\n" not in message
    assert code in (1, 2)


@pytest.mark.parametrize(
    ("make", "library"),
    [
        (lambda path: Image.open(path), "PIL"),
        (lambda path: torch.load(path, weights_only=True), "torch"),
        (lambda path: json.loads("{"), "json"),
        (lambda path: zipfile.ZipFile(path), "zipfile"),
    ],
)
def test_an_error_of_a_library_names_the_library(make: Callable[[Path], object], library: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("text")
    message, code = error_messages.explain(raised(lambda: make(path)))
    assert message.startswith(f"{library} raised ")
    assert code == 1


def test_an_error_in_resnets_is_called_a_bug() -> None:
    for error in (raised(lambda: {}["x"]), raised(lambda: None.x), TypeError("x")):  # type: ignore[attr-defined]
        assert error_messages.explain(error)[0].startswith("this is a bug in resnets: ")
