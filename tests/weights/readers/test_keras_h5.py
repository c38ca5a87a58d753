"""HDF5: the three layouts of Keras, and what a file must not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from resnets.errors import UserError
from resnets.weights.readers import keras_h5, read_any, sandbox

LAYERS = {
    "conv": ["kernel", "bias"],
    "bn": ["gamma", "beta", "moving_mean", "moving_variance"],
    "predictions": ["kernel", "bias"],
}


def read(path: Path) -> tuple[dict, dict]:
    found = read_any.read(path)
    return found.tensors, found.attributes


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def made(tmp_path):
    """Give a function that writes an HDF5 file by `fill(file)`."""

    def make(fill) -> Path:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            fill(file)
        return tmp_path / "a.h5"

    return make


@pytest.mark.parametrize("name", ["legacy.h5", "full.h5"])
def test_older_layouts(real, name):
    tensors, attributes = read(real("h5") / name)
    layers = {layer["name"]: layer["tensors"] for layer in attributes["layers"] if layer["tensors"]}
    assert layers == {layer: [f"{layer}/{layer}/{weight}" for weight in weights] for layer, weights in LAYERS.items()}
    assert list(tensors) == [tensor for each in layers.values() for tensor in each]
    with h5py.File(real("h5") / "legacy.h5") as file:
        assert torch.equal(tensors["conv/conv/kernel"], torch.from_numpy(file["conv/conv/kernel"][()]))
    assert attributes["backend"] == "torch"
    assert attributes["keras_version"].startswith("3.")
    if name == "full.h5":
        assert attributes["wrapper"] == "model_weights"
        assert attributes["config"]["class_name"] == "Functional"


def test_the_layout_of_keras_3(real):
    tensors, attributes = read(real("h5") / "three.weights.h5")
    layers = {layer["name"]: layer for layer in attributes["layers"]}
    assert {name: len(layer["tensors"]) for name, layer in layers.items()} == {"bn": 4, "conv": 2, "predictions": 2}
    assert layers["conv"]["path"] == "layers/conv2d"
    assert layers["conv"]["tensors"] == ["layers/conv2d/vars/0", "layers/conv2d/vars/1"]
    assert tensors["layers/conv2d/vars/0"].shape == (3, 3, 3, 4)


def test_numbers_of_every_kind(made):
    given = {
        "f8": np.arange(6.0).reshape(2, 3),
        "f2": np.ones(3, "f2"),
        "big": np.arange(3, dtype=">f4"),
        "i8": np.arange(3),
        "u1": np.arange(3, dtype="u1"),
        "flag": np.array([True, False]),
        "one": np.float32(2.5),
        "none": np.empty((0, 2)),
    }
    tensors, _ = read(made(lambda file: [file.__setitem__(name, value) for name, value in given.items()]))
    assert all(np.array_equal(tensors[name].numpy(), value) for name, value in given.items())


def test_compressed_tensors(made):
    values = np.random.default_rng(0).normal(size=(100, 30))
    tensors, _ = read(made(lambda file: file.create_dataset("a", data=values, compression="gzip", shuffle=True)))
    assert np.array_equal(tensors["a"].numpy(), values)


def test_eleven_variables_are_in_order(made):
    def fill(file):
        for index in range(11):
            file[f"layers/a/vars/{index}"] = float(index)

    tensors, _ = read(made(fill))
    assert [tensor.item() for tensor in tensors.values()] == list(range(11))


def test_a_list_of_layers_in_pieces(made):
    """HDF5 limits an attribute to 64 kB; Keras cuts a longer list."""

    def fill(file):
        for index in range(4):
            file.attrs[f"layer_names{index // 2}"] = [b"a0", b"a1"] if index < 2 else [b"a2", b"a3"]
            file.create_group(f"a{index}").attrs["weight_names"] = ["k"]
            file[f"a{index}/k"] = [1.0]

    _, attributes = read(made(fill))
    assert [layer["name"] for layer in attributes["layers"]] == ["a0", "a1", "a2", "a3"]


def cycle(file):
    group = file.create_group("a/b")
    group["c"] = file["a"]


def packed(file):
    file.create_dataset("a", shape=(2**28,), dtype="f4", chunks=(2**16,), compression="gzip", fillvalue=0)


def zeros(file):
    file.create_dataset("a", data=np.zeros(2**23, "f4"), compression="gzip", compression_opts=9)


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", (4,))
    file.create_virtual_dataset("a", layout)


def lost_layer(file):
    file.attrs["layer_names"] = ["a"]


def lost_weight(file):
    file.attrs["layer_names"] = ["a"]
    file.create_group("a").attrs["weight_names"] = ["k"]


@pytest.mark.parametrize(("fill", "said"), [
    (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")), "holds no tensors"),
    (lambda file: file.__setitem__("model_weights", h5py.ExternalLink("/etc/passwd", "/")), "holds no tensors"),
    (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "holds no tensors"),
    (lambda file: file.create_dataset("a", (8,), "u1", external=[("/etc/passwd", 0, 8)]), "in another file"),
    (virtual, "in another file"), (cycle, "holds no tensors"),
    (lambda file: file.create_dataset("a", (2**40,), "f4"), "claims tensors of 4,398,046,511,104"),
    (packed, "claims tensors of 1,073,741,824"), (zeros, "claims tensors of 33,554,432"),
    (lambda file: file.__setitem__("a", "text"), "not a tensor"),
    (lambda file: file.__setitem__("a", np.ones(3, "c16")), "not a tensor"),
    (lambda file: file.__setitem__("a", h5py.Empty("f4")), "not a tensor"),
    (lost_layer, "lists a layer 'a' that it does not hold"), (lost_weight, "lists a tensor 'a/k'"),
    (lambda file: file.attrs.__setitem__("layer_names", [1, 2]), "not text"),
    (lambda file: file.attrs.__setitem__("keras_version", 3), "not text"),
    (lambda file: file.attrs.__setitem__("model_config", "{"), "is not the JSON"),
])  # fmt: skip
def test_what_no_file_of_weights_does(made, fill, said):
    assert said in refused(made(fill))


def test_a_tensor_of_many_names_is_read_once(made):
    def fill(file):
        file["a0"] = np.ones(2**18, "f4")
        for index in range(1, 30):
            file[f"a{index}"] = file["a0"]

    assert len(read(made(fill))[0]) == 1


def test_a_file_on_which_the_library_hangs_is_given_up(made, monkeypatch):
    """A length in the heap of texts that is nought makes libhdf5 search for ever."""
    path = made(lambda file: file.attrs.__setitem__("keras_version", "3.0"))
    data = bytearray(path.read_bytes())
    heap = data.index(b"GCOL") + 16
    data[heap + 8 : heap + 16] = b"\xff" * 8
    path.write_bytes(data)
    monkeypatch.setattr(sandbox, "SECONDS", 2)
    assert "damaged" in refused(path)


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def test_the_process_keeps_to_its_memory(made, tmp_path):
    """A file within the limit of claims, read with less memory than its tensors need."""
    path = made(lambda file: file.create_dataset("a", data=np.ones(2**28, "u1")))
    program = (
        "from resnets.weights.readers import sandbox_child; sandbox_child.MEMORY = 100 * 2**20; sandbox_child.main()"
    )
    out = tmp_path / "out.safetensors"
    # Linux counts the memory of whoever starts a process as that process' own at first: a small one starts it.
    words = [sys.executable, "-c", program, "h5", str(path), str(out), "0", "20"]
    with path.open("rb") as opened:
        done = subprocess.run([sys.executable, "-c", PEAK, *words], stdin=opened, capture_output=True)
    assert int(done.stderr.split()[-1]) < 2**18  # kB
    assert not out.exists() or out.stat().st_size < 2**20


def test_a_crash_of_the_library_is_an_error_of_the_file(made, real_sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROGRAM", "import os; os.kill(os.getpid(), 11)")
    assert "within the limits of memory and time" in refused(made(lambda file: file.__setitem__("a", 1.0)))


def test_a_process_that_breaks_off_is_noticed(made, real_sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROGRAM", "import sys; open(sys.argv[3], 'wb').write(b'\\x80' + bytes(7) + b'{')")
    assert "within the limits of memory and time" in refused(made(lambda file: file.__setitem__("a", 1.0)))


def test_a_process_that_does_not_end_is_ended(made, real_sandbox, monkeypatch):
    monkeypatch.setattr(sandbox, "_PROGRAM", "import time; time.sleep(1000)")
    monkeypatch.setattr(sandbox, "IMPORTS", 0.1)
    monkeypatch.setattr(sandbox, "SECONDS", 0)
    assert "within the limits of memory and time" in refused(made(lambda file: file.__setitem__("a", 1.0)))


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(keras_h5.MAGIC)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"'.*a\.h5'.*pip install 'resnets\[keras\]'"):
        read_any.read(tmp_path / "a.h5")
