"""Any file at all: tensors, or one line, in little time and memory."""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import signal
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from tests import forked_processes

from resnets.errors import UserError
from resnets.weights.readers import read_any

CONTAINERS = {"pickle": "wrappedTrue.pth", "safetensors": "seed.safetensors", "h5": "legacy.h5", "keras": "seed.keras"}

SOAK = str(Path(__file__).parents[2] / "soak")


def _read_with_little_memory(paths: Sequence[Path]) -> None:
    """Print a line for each file; 400 MiB more than the imports may be used."""
    sys.path.insert(0, SOAK)
    fuzz_readers = importlib.import_module("fuzz_readers")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 400 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    fuzz_readers.fork().start()  # under the same limit
    for path in paths:
        signal.alarm(60)
        try:
            print("READ", read_any.read(path).container)
        except UserError as error:
            print("REFUSED", error)


@pytest.mark.parametrize("container", CONTAINERS)
def test_the_content_decides_what_a_file_is(real, tmp_path, container):
    odd = tmp_path / "weights.bin"
    odd.write_bytes((real(container) / CONTAINERS[container]).read_bytes())

    found = read_any.read(odd)

    assert (found.container, found.path) == (container, str(odd))
    assert sorted(tensor.ndim for tensor in found.tensors.values())[-1] == 4
    assert all(torch.isfinite(tensor).all() for tensor in found.tensors.values())


def odd_files(folder: Path) -> dict[Path, str]:
    """Files that hold no weights, with a part of what is said of each."""
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "JPEG")
    array = io.BytesIO()
    np.save(array, np.array([1, {"a": 2}], dtype=object), allow_pickle=True)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    contents = {
        "empty.pth": (b"", "an empty file"),
        "text.safetensors": (b"<html>404 Not Found</html>", "a text file"),
        "image.h5": (image.getvalue(), "an image"),
        "pointer.keras": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
        "objects.npy": (array.getvalue(), "a .npy of numpy"),
        "old.pth": (tar.getvalue(), "a tar archive"),
        "noise.pth": (bytes(range(255, 0, -1)) * 9, "of an unknown format"),
        "zip.pth": (b"PK\x03\x04" + bytes(100), "a zip archive"),
        "one.pth": (b"\x80", "torch.save"),
        "header.safetensors": (b"\xff" * 7 + b"\x7f{", "damaged"),
        "signature.h5": (b"\x89HDF\r\n\x1a\n", "damaged"),
    }
    result = {}
    for name, (content, said) in contents.items():
        (folder / name).write_bytes(content)
        result[folder / name] = said
    return result


def cut_files(real: Callable[[str], Path], folder: Path) -> list[Path]:
    pieces = []
    for container, name in CONTAINERS.items():
        whole = (real(container) / name).read_bytes()
        for part in (1, 4, 7):
            pieces.append(folder / f"{container}-{part}.cut")
            pieces[-1].write_bytes(whole[: len(whole) * part // 8])
    return pieces


def test_a_file_that_is_cut_or_not_of_weights_is_described_in_one_line(real, tmp_path):
    files = odd_files(tmp_path) | dict.fromkeys(cut_files(real, tmp_path), "")
    log = tmp_path / "log"
    job = forked_processes.start(log, _read_with_little_memory, list(files))
    job.join(300)
    assert job.exitcode == 0, log.read_text()
    for (path, said), line in zip(files.items(), log.read_text().splitlines(), strict=True):
        assert line.startswith("REFUSED"), line
        assert str(path) in line
        assert said in line


def test_a_missing_file_has_a_suggestion(tmp_path):
    (tmp_path / "resnet18.pth").touch()
    with pytest.raises(UserError, match=r"no file '.*resnet81.pth'. Did you mean 'resnet18.pth'\?$"):
        read_any.read(tmp_path / "resnet81.pth")
    with pytest.raises(UserError, match="cannot be read"):
        read_any.read("a\0b")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(UserError, match="not an ordinary file"):
        read_any.read(tmp_path / "pipe.pth")


def test_a_folder_of_hugging_face(tmp_path):
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3)}
    with pytest.raises(UserError, match=r"a folder without model.safetensors"):
        read_any.read(tmp_path)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    old = read_any.read(tmp_path)
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    new = read_any.read(tmp_path)

    assert (old.container, new.container) == ("pickle", "safetensors")
    assert old.attributes["config"] == new.attributes["config"] == {"model_type": "resnet"}
    assert torch.equal(old.tensors["a.weight"], new.tensors["a.weight"])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json' is not the JSON"):
        read_any.read(tmp_path)


def test_a_header_whose_length_begins_like_a_pickle(tmp_path):
    """The length of a safetensors header ends in the byte 0x80 in one file of 32."""
    path = tmp_path / "a.safetensors"
    for count in range(200):
        safetensors.torch.save_file({"a": torch.ones(2)}, path, metadata={"x": "y" * count})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert read_any.read(path).container == "safetensors"


def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret.pth"
    torch.save({"a": torch.ones(1)}, path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read all")
    with pytest.raises(UserError, match="Permission denied"):
        read_any.read(path)
