"""Files of torch.save in every pickle protocol and container give the same tensors, and nothing in them is called."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from resnets.errors import UserError
from resnets.weights import opcodes
from resnets.weights.foreign import read


class Calling:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def saved(value: Any, path: Path, protocol: int, zipped: bool) -> Path:
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_gives_the_same_tensors(protocol: int, zipped: bool, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    beside = {"args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "when": datetime.datetime.now(), "tags": {"a"},
              "frozen": frozenset({1}), "raw": bytearray(b"ab"), "rng": torch.get_rng_state(),
              "touch": Calling(tmp_path / "called"),
              "more": collections.deque([b"\xff" * 300])}  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1).state_dict()
    given = {"model": net.state_dict(), "optimizer": optimizer, **beside}
    found = read(saved(given, tmp_path / "a.pth", protocol, zipped)).tensors
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source")
def test_a_whole_module_gives_the_tensors_of_its_state_dict(protocol: int, zipped: bool, tmp_path: Path) -> None:
    net = nn.Sequential(collections.OrderedDict(fc=nn.Linear(2, 3), norm=nn.BatchNorm1d(3), act=nn.ReLU()))
    found = read(saved({"model": net, "epoch": 3}, tmp_path / "a.pth", protocol, zipped)).tensors
    assert found.keys() == net.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in net.state_dict().items())


def test_a_name_that_torch_never_takes_is_refused_in_a_later_protocol_too(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'called'}",)

    for zipped in (True, False):
        path = saved({"state_dict": {"a": torch.ones(2)}, "evil": Evil()}, tmp_path / "a.pth", 4, zipped)
        with pytest.raises(UserError, match=r"tries to call 'os.system'"):
            read(path)
    assert not (tmp_path / "called").exists()


def test_a_pickle_of_another_program_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"fc.weight": torch.ones(2)}, 2))
    with pytest.raises(UserError, match=r"torch.save did not write. .* save its state_dict with torch.save"):
        read(tmp_path / "a.pth")


@pytest.mark.parametrize("protocol", [4, 5])
def test_what_is_rewritten_means_the_same(protocol: int) -> None:
    text = "a text that is used twice"
    value = {
        text: [text, ("x" * 300, 1, -5, 2**40, 1.5, None, True)],
        "d": collections.OrderedDict([(text, {1: text})]),
    }
    names, made = opcodes.wanted(
        io.BytesIO(pickle.dumps([value, collections.OrderedDict, text, b"\x00\xff"], protocol))
    )
    assert list(names) == ["collections.OrderedDict"]
    words = {code.name for code, _, _ in pickletools.genops(made)}
    assert not words & {"MEMOIZE", "STACK_GLOBAL", "SHORT_BINUNICODE", "FRAME", "SHORT_BINBYTES"}
    assert pickle.loads(made) == [value, collections.OrderedDict, text, b"\x00\xff"]


def test_old_instructions_stay_as_they_are() -> None:
    text = pickle.dumps({"a": [1, "b", collections.OrderedDict()]}, 2)
    assert opcodes.wanted(io.BytesIO(text))[1] == text
