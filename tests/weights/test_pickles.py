"""Files of torch.save: what is read, and what would run."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from resnets.errors import UserError
from resnets.weights import pickles
from resnets.weights.foreign import read


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
def test_tensors_of_every_kind_come_as_they_went(tmp_path, zipped):
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


def test_a_wrapper_is_taken_off_and_what_lay_beside_it_is_named(tmp_path):
    net = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": net.state_dict(),
                "state_dict_ema": {"weight": torch.zeros(2, 2)}}, tmp_path / "a.pth")  # fmt: skip
    found = read(tmp_path / "a.pth")
    assert found.attributes == {"wrapper": "state_dict", "beside_wrapper": ["epoch", "optimizer", "state_dict_ema"]}
    assert torch.equal(found.tensors["weight"], net.weight)
    torch.save({"my_net": net.state_dict(), "epoch": 3}, tmp_path / "b.pth")
    assert read(tmp_path / "b.pth").attributes["wrapper"] == "my_net"
    torch.save({"one": net.state_dict(), "two": net.state_dict()}, tmp_path / "c.pth")
    assert "holds no tensors by name, but a dict of one, two" in refused(tmp_path / "c.pth")


def test_what_is_no_tensor_is_left_over(tmp_path):
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
    assert f"tries to call '{name}'" in refused(tmp_path / "a.pth")
    assert not Path("called").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_named(tmp_path, protocol):
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(Calls(os.system, f"touch {tmp_path}/called"), protocol=protocol))
    assert "tries to call 'os.system'" in refused(path)
    path.write_bytes(pickle.dumps({"a": np.ones(3)}, protocol=protocol))
    assert "tries to call 'numpy" in refused(path)
    path.write_bytes(pickle.dumps([1, 2], protocol=protocol))
    assert "torch.save" in refused(path) or protocol < 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pth"]


def test_torchscript_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "a.pt")
    assert "is a TorchScript program" in refused(tmp_path / "a.pt")


def test_a_storage_that_is_larger_than_its_file_is_not_made(tmp_path):
    torch.save({"a": torch.ones(200)}, tmp_path / "a.pth")

    def grown(name: str, content: bytes) -> bytes:
        return re.sub(rb"K\xc8", b"J\xff\xff\xff\x7f", content) if name.endswith("data.pkl") else content

    assert "than its storage" in refused(rewritten(tmp_path / "a.pth", tmp_path / "b.pth", lambda name, content: (
        content.replace(b"K\xc8\x85", b"J\xff\xff\xff\x7f\x85") if name.endswith("data.pkl") else content)))  # fmt: skip
    assert "that it claims" in refused(rewritten(tmp_path / "a.pth", tmp_path / "c.pth", grown))


def test_many_tensors_of_one_storage_are_not_believed(tmp_path):
    base = torch.ones(10_000)
    torch.save({f"t{index}": base for index in range(3)}, tmp_path / "tied.pth")
    assert len(read(tmp_path / "tied.pth").tensors) == 3
    torch.save({f"t{index}": base for index in range(300)}, tmp_path / "bomb.pth")
    assert "claims tensors of 12,000,000, which is not believed" in refused(tmp_path / "bomb.pth")
    torch.save({f"t{index}": base[:] for index in range(300)}, tmp_path / "views.pth")
    assert "claims tensors of 12,000,000" in refused(tmp_path / "views.pth")
    torch.save({"a": torch.ones(1).expand(2**40)}, tmp_path / "stride.pth")
    assert "larger than its storage" in refused(tmp_path / "stride.pth")


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "is compressed within" in refused(tmp_path / "b.pth")


def test_another_zip_is_no_file_of_torch(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("weights/resnet.pth", b"x")
    assert "but not one of torch.save" in refused(tmp_path / "a.zip")
    assert not pickles.calls(tmp_path / "a.zip")


def test_the_published_cifar_network(shared):
    found = read(shared("data/weights/resnet20-12fca82f.th"))
    assert found.attributes == {"wrapper": "state_dict", "beside_wrapper": ["best_prec1"]}
    assert found.tensors["module.conv1.weight"].shape == (16, 3, 3, 3)
