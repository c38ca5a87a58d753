"""Files of torch.save: what is read, and what would run."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import functools
import io
import os
import pathlib
import pickle
import re
import struct
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from resnets.errors import JobError, UserError
from resnets.weights.readers import sandbox, sandbox_child
from resnets.weights.readers.read_any import read


class Calls:
    """Calls `function` when it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.made = (function, arguments)

    def __reduce__(self):
        return self.made


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def rewritten(source: Path, target: Path, change) -> Path:
    """A zip whose members went through `change(name, content)`, with right checksums."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind_are_read_as_they_were_written(tmp_path, zipped):
    base = torch.arange(24.0).reshape(2, 3, 4)
    given = {"whole": base, "part": base[1], "turned": base.permute(2, 0, 1), "half": base.half(), "brain": base.bfloat16(),
             "double": base.double(), "count": torch.tensor(7), "flag": torch.tensor([True, False]),
             "none": torch.empty(0, 3), "parameter": torch.nn.Parameter(base), "byte": base.byte()}  # fmt: skip
    torch.save(given, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "a.pth").tensors
    assert list(found) == list(given)
    for name, tensor in given.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert not found[name].requires_grad


def test_a_wrapper_is_removed_and_the_keys_beside_it_are_named(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": net.state_dict(),
                "state_dict_ema": {"weight": torch.zeros(2, 2)}}, tmp_path / "a.pth")  # fmt: skip
    found = read(tmp_path / "a.pth")
    assert found.attributes == {"wrapper": "state_dict", "beside_wrapper": ["epoch", "optimizer", "state_dict_ema"]}
    assert torch.equal(found.tensors["weight"], net.weight)
    assert found.sets.keys() == {"state_dict", "state_dict_ema"}
    torch.save({"my_net": net.state_dict(), "epoch": 3}, tmp_path / "b.pth")
    assert read(tmp_path / "b.pth").attributes["wrapper"] == "my_net"
    torch.save({"one": net.state_dict(), "two": {"deep": [net.state_dict()]}}, tmp_path / "c.pth")
    assert read(tmp_path / "c.pth").sets.keys() == {"one", "two.deep.0"}


def test_values_that_are_not_tensors_are_leftovers(tmp_path):
    torch.save({"a": torch.ones(1), "version": 3, 4: torch.ones(1)}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert list(found.tensors) == ["a"]
    assert found.attributes["leftovers"] == {"version": "int", "4": "Tensor"}


@pytest.mark.parametrize("content", [{}, [], 3, torch.ones(3), {"a": 1}])
def test_no_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    assert "holds no tensors by name" in refused(tmp_path / "a.pth")


CALLS = {
    "os.system": Calls(os.system, "touch called"),
    "subprocess.Popen": Calls(subprocess.Popen, ["touch", "called"]),
    "builtins.eval": Calls(eval, "open('called', 'w')"),
    "builtins.bytearray": Calls(bytearray, 2**40),
    "argparse.Namespace": argparse.Namespace(lr=0.1),
    "torch.nn.modules.linear.Linear": torch.nn.Linear(1, 1),
    "numpy._core.multiarray._reconstruct": np.array([{}]),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_would_be_called_is_named_and_not_called(tmp_path, monkeypatch, name, zipped):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(2)}, "x": CALLS[name]}, "a.pth", _use_new_zipfile_serialization=zipped)
    if name == "os.system":
        assert f"tries to call '{name}'" in refused(tmp_path / "a.pth")
    else:
        found = read(tmp_path / "a.pth")
        assert found.tensors["a"].tolist() == [1, 1]
        assert name in found.attributes["inert"]
    assert not Path("called").exists()


class Kind(enum.Enum):
    ONE = 1


class Settings(dict):
    """What programs of their own make of a dict."""


class Outer:
    class Inner:
        def __init__(self) -> None:
            self.value = torch.zeros(1)


ODD = {
    "namespace": argparse.Namespace(lr=0.1), "number": np.float64(91.2), "array": np.ones(3), "device": torch.device("cuda:0"),
    "date": datetime.datetime(2025, 1, 1), "path": pathlib.PurePosixPath("/x"), "counter": collections.Counter("abc"),
    "default": collections.defaultdict(list, {"a": [1]}), "deque": collections.deque([1, 2], 3), "set": {1, 2},
    "frozen": frozenset([1]), "enum": Kind.ONE, "dict": Settings(a=1), "inner": Outer.Inner(), "class": Outer,
    "function": print, "partial": functools.partial(print, 1), "method": "abc".upper, "range": range(4), "slice": slice(1),
    "decimal": decimal.Decimal("1.5"), "complex": 1j, "large": 2**80, "dtype": torch.float16, "size": torch.Size([2]),
    "ordered": collections.OrderedDict(a=1), "bytes": b"abc", "generator": torch.Generator().get_state(),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
def test_odd_values_beside_the_tensors_are_placeholders(tmp_path, zipped):
    torch.save({"model": {"a": torch.ones(2)}, **ODD}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "a.pth")
    assert found.attributes["wrapper"] == "model"
    assert found.tensors["a"].tolist() == [1, 1]
    for name in ("argparse.Namespace", "collections.deque", "builtins.print", "datetime.datetime"):
        assert name in found.attributes["inert"]


def test_a_module_that_was_pickled_whole_gives_its_tensors(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(net, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth").tensors
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(("key", "value"), [
    ("class_to_idx", {"dog": 1, "cat": 0}), ("classes", ["cat", "dog"]), ("class_names", ("cat", "dog")),
    ("id2label", {0: "cat", 1: "dog"}), ("id2label", {"1": "dog", "0": "cat"}),
])  # fmt: skip
def test_names_of_classes_are_found(tmp_path, key, value):
    torch.save({"state_dict": {"a": torch.ones(1)}, "hyper_parameters": {key: value}}, tmp_path / "a.ckpt")
    assert read(tmp_path / "a.ckpt").attributes["labels"] == {f"hyper_parameters.{key}": ["cat", "dog"]}


def sealed(folder: Path, pickle: bytes) -> Path:
    """A zip of torch.save with another pickle."""
    torch.save({"a": torch.ones(200)}, folder / "sound.pth")
    return rewritten(folder / "sound.pth", folder / "a.pth", lambda name, content: (
        pickle if name.endswith("data.pkl") else content))  # fmt: skip


LONG = b"\x80\x02](" + b"K\x01" * 20_000 + b"eq\x00"  # a list, kept as number 0


@pytest.mark.parametrize("text", [
    b"\x80\x02r\xff\xff\xff\xff.", b"\x80\x02N" + b"r\xff\xff\xff\x7f.", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",
    b"\x80\x02\x8b\xff\xff\xff\x7f.", b"\x80\x02\x82\x01.", b"\x80\x05\x97.", b"P0\n.", b"\x80\x09N.", b"", b".", b"N", b"t.",
    b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", b"\x80\x02" + b"(" * 100_000 + b".",
    pickle.dumps({(2**61 - 1) * 2**10: 1}, protocol=2),
    LONG + b"(" + b"ctorch\nSize\nh\x00\x85R" * 20_000 + b"t.",
    b"\x80\x02ccollections\nOrderedDict\n}X\x04\x00\x00\x00nameK\x01sb.", b"\x80\x02ctorch\nFloatStorage\n)R.",
    b"\x80\x02cbuiltins\nbytearray\n\x8a\x07" + (2**50).to_bytes(7, "little") + b"\x85R.",
    b"\x80\x02ctorch\nTensor\n\x8a\x07" + (2**50).to_bytes(7, "little") + b"\x85R.",
    b"\x80\x02cx\nf\n(K\x01K\x02ttR\x85R.",
])  # fmt: skip
def test_instructions_with_wrong_arguments(tmp_path, monkeypatch, text):
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    assert refused(sealed(tmp_path, text))


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_refused_without_a_call(tmp_path, protocol):
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path}/called"), protocol=protocol))
    assert "tries to call 'os.system'" in refused(path) or protocol < 2
    path.write_bytes(pickle.dumps({"a": np.ones(3)}, protocol=protocol))
    assert "tries to call 'numpy" in refused(path) or protocol < 2
    path.write_bytes(pickle.dumps([1, 2], protocol=protocol))
    assert "torch.save" in refused(path) or protocol < 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class Keywords(dict):
    """A dict that takes arguments by name."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"weight": 1}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source")
def test_every_protocol_gives_the_same_tensors(protocol, zipped, tmp_path):
    net = torch.nn.Sequential(collections.OrderedDict(fc=torch.nn.Linear(2, 3), norm=torch.nn.BatchNorm1d(3)))
    beside = {"best": np.float64(0.5), "tags": {"a"}, "raw": bytearray(b"ab"), "rng": torch.get_rng_state(),
              "touch": Touch(tmp_path / "called"), "more": collections.deque([b"\xff" * 300]), "words": Keywords(a=Keywords()),
              "optimizer": torch.optim.SGD(net.parameters(), lr=0.1).state_dict()}  # fmt: skip
    for model in (net.state_dict(), net):
        given = {"model": model, **beside}
        torch.save(given, tmp_path / "a.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        found = read(tmp_path / "a.pth").tensors
        assert found.keys() == net.state_dict().keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_the_function_that_loads_a_pickle_within_a_pickle_is_named_and_not_called(zipped, tmp_path):
    """torch.storage._load_from_bytes calls torch.load(weights_only=False) on its argument."""
    inner = io.BytesIO()
    torch.save(Touch(tmp_path / "called"), inner)
    nested = Calls(torch.storage._load_from_bytes, inner.getvalue())
    torch.save({"model": {"a": torch.ones(2)}, "x": nested}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "a.pth")
    assert found.tensors["a"].tolist() == [1, 1]
    assert found.attributes["inert"] == ["torch.storage._load_from_bytes"]
    torch.save({"x": nested}, tmp_path / "b.pth", _use_new_zipfile_serialization=zipped)
    assert "tries to call 'torch.storage._load_from_bytes'" in refused(tmp_path / "b.pth")
    (tmp_path / "c.pth").write_bytes(pickle.dumps({"fc.weight": torch.ones(2)}, 2))
    assert "can be read by 'torch.storage._load_from_bytes' only, which runs any code" in refused(tmp_path / "c.pth")
    assert not (tmp_path / "called").exists()


def test_a_name_with_dots_finds_nothing_within_what_is_allowed(tmp_path):
    """Protocol 4 looks up names with dots attribute by attribute."""
    dotted = b"\x80\x04\x8c\x05torch\x8c\x15serialization.os.path\x93."
    assert "tries to call 'torch.serialization.os.path'" in refused(sealed(tmp_path, dotted))


def test_torchscript_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "a.pt")
    assert "is a TorchScript program" in refused(tmp_path / "a.pt")


def test_a_storage_that_is_larger_than_its_file_is_not_made(tmp_path):
    torch.save({"a": torch.ones(200)}, tmp_path / "a.pth")

    def grown(name: str, content: bytes) -> bytes:
        return re.sub(rb"K\xc8", b"J\xff\xff\xff\x7f", content) if name.endswith("data.pkl") else content

    assert "damaged" in refused(rewritten(tmp_path / "a.pth", tmp_path / "b.pth", lambda name, content: (
        content.replace(b"K\xc8\x85", b"J\xff\xff\xff\x7f\x85") if name.endswith("data.pkl") else content)))  # fmt: skip
    assert "damaged" in refused(rewritten(tmp_path / "a.pth", tmp_path / "c.pth", grown))


def test_many_tensors_of_one_storage_are_refused(tmp_path):
    base = torch.ones(10_000)
    torch.save({f"t{index}": base for index in range(3)}, tmp_path / "tied.pth")
    assert len(read(tmp_path / "tied.pth").tensors) == 3
    torch.save({f"t{index}": base for index in range(300)}, tmp_path / "bomb.pth")
    assert "claims tensors of 12,000,000, which it cannot hold" in refused(tmp_path / "bomb.pth")
    torch.save({f"t{index}": base[:] for index in range(300)}, tmp_path / "views.pth")
    assert "claims tensors of 12,000,000" in refused(tmp_path / "views.pth")
    torch.save({"a": torch.ones(1).expand(2**40)}, tmp_path / "stride.pth")
    assert "claims tensors of" in refused(tmp_path / "stride.pth")


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "is compressed" in refused(tmp_path / "b.pth")


def test_another_zip_is_no_file_of_torch(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights/resnet.pth", b"x")
    assert "is a zip archive" in refused(tmp_path / "a.zip")


def test_a_file_is_read_by_a_process_of_its_own(tmp_path, real_sandbox):
    torch.save({"a": torch.ones(2), "args": argparse.Namespace(lr=0.1)}, tmp_path / "a.pth")
    assert read(tmp_path / "a.pth").tensors["a"].tolist() == [1, 1]


def test_the_published_cifar_network(shared):
    found = read(shared("data/weights/resnet20-12fca82f.th"))
    assert found.attributes == {"wrapper": "state_dict", "beside_wrapper": ["best_prec1"]}
    assert found.tensors["module.conv1.weight"].shape == (16, 3, 3, 3)


def test_a_full_temporary_folder_is_no_fault_of_the_file(tmp_path, real_sandbox, monkeypatch):
    """A limit on the size of files stands in for the full disk."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); "
    monkeypatch.setattr(sandbox, "_PROGRAM", limited + sandbox._PROGRAM)
    torch.save({"a": torch.randn(2000)}, tmp_path / "a.pt")
    with pytest.raises(JobError, match=r"temporary folder '.*', which may be full.* TMPDIR") as caught:
        read(tmp_path / "a.pt")
    assert "damaged" not in str(caught.value)


def test_more_than_a_file_can_hold_is_its_own_fault(tmp_path):
    out = tmp_path / "out.safetensors"
    with (tmp_path / "a").open("wb+") as file:
        sandbox_child.answer(lambda *_: ({"a": torch.zeros(100)}, {}), file, "a", out, max_bytes=399)
    with safe_open(out, framework="pt") as found:
        assert "far more tensors" in found.metadata()[sandbox_child.REFUSED]


@pytest.mark.parametrize("name", [
    "torch.hub.load", "torch.ops.load_library", "torch.utils.cpp_extension.load_inline", "builtins.setattr", "torch.load",
    "collections.OrderedDict.fromkeys", "torch.storage.os.system",
])  # fmt: skip
def test_dangerous_functions_beside_harmless_ones_are_named(tmp_path, name):
    module, _, function = name.rpartition(".")
    path = tmp_path / "a.pth"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"K\x01\x85R.")
    assert f"tries to call '{name}'" in refused(path)


@pytest.mark.parametrize("value", [Calls(eval, "1"), {"x": Calls(eval, "1")}])
def test_a_file_without_tensors_that_calls_something_is_named_so(tmp_path, value):
    torch.save(value, tmp_path / "a.pth")
    assert "holds no tensors by name, but a Python pickle that tries to call 'builtins.eval'" in refused(
        tmp_path / "a.pth"
    )


def test_what_would_fill_the_memory_is_refused(tmp_path):
    message = refused(sealed(tmp_path, b"\x80\x02Nr\xff\xff\xff\xff."))  # number 2**32 - 1 of the memo
    assert "asks for more memory" in message
    assert "Download" not in message
