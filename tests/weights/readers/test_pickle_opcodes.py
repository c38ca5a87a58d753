"""Files of torch.save in the pickle protocols 2 to 5 and each container give the same tensors, and nothing in them is called."""

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
from resnets.weights.readers import pickle_opcodes
from resnets.weights.readers.read_any import read


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


@pytest.mark.parametrize("zipped", [True, False])
def test_the_function_that_loads_a_pickle_within_a_pickle_is_named_and_not_called(zipped: bool, tmp_path: Path) -> None:
    """torch.storage._load_from_bytes calls torch.load(weights_only=False) on its argument."""
    inner = io.BytesIO()
    torch.save(Calling(tmp_path / "called"), inner)

    class Nested:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch.storage._load_from_bytes, (inner.getvalue(),)

    path = saved({"model": {"a": torch.ones(2)}, "x": Nested()}, tmp_path / "a.pth", 2, zipped)
    found = read(path)
    assert found.tensors["a"].tolist() == [1, 1]
    assert found.attributes["inert"] == ["torch.storage._load_from_bytes"]
    with pytest.raises(UserError, match=r"tries to call 'torch\.storage\._load_from_bytes'"):
        read(saved({"x": Nested()}, tmp_path / "b.pth", 2, zipped))
    (tmp_path / "c.pth").write_bytes(pickle.dumps({"fc.weight": torch.ones(2)}, 2))
    with pytest.raises(UserError, match=r"can be read by 'torch\.storage\._load_from_bytes' only, which runs any code"):
        read(tmp_path / "c.pth")
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("protocol", [4, 5])
def test_what_is_rewritten_means_the_same(protocol: int) -> None:
    text = "a text that is used twice"
    value = {
        text: [text, ("x" * 300, 1, -5, 2**40, 1.5, None, True)],
        "d": collections.OrderedDict([(text, {1: text})]),
    }
    names, made = pickle_opcodes.find_globals(
        io.BytesIO(pickle.dumps([value, collections.OrderedDict, text, b"\x00\xff"], protocol))
    )
    assert list(names) == ["collections.OrderedDict"]
    words = {code.name for code, _, _ in pickletools.genops(made)}
    assert not words & {"MEMOIZE", "STACK_GLOBAL", "SHORT_BINUNICODE", "FRAME", "SHORT_BINBYTES"}
    assert pickle.loads(made) == [value, collections.OrderedDict, text, b"\x00\xff"]


def test_old_instructions_stay_as_they_are() -> None:
    text = pickle.dumps({"a": [1, "b", collections.OrderedDict()]}, 2)
    assert pickle_opcodes.find_globals(io.BytesIO(text))[1] == text


def said(text: bytes) -> tuple[list[str], bytes]:
    names, made = pickle_opcodes.find_globals(io.BytesIO(text))
    return list(names), made


def unicode(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def test_names_that_are_not_text_are_not_printed() -> None:
    """Written out, tuples that share their parts have 2**60 letters, and tuples 3,000 deep are more than Python can write."""
    shared = unicode("a") + b"q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"h\x00h\x00\x93."
    deep = unicode("a") + b"q\x01" + b"\x85" * 3000 + b"h\x01\x93."
    for text in (shared, deep):
        assert said(text) == ([], text)


def test_a_long_name_is_not_written_out_many_times() -> None:
    text = unicode("a" * 100_000) + b"q\x00" + b"h\x00h\x00\x93" * 10_000 + b"."
    assert said(text)[1] == text


class Counting(list[Any]):
    """A stack that counts the objects that are copied from it."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.copied += len(found) if isinstance(key, slice) else 0
        return found


def test_a_mark_is_found_without_a_copy_of_the_stack() -> None:
    rewriting = pickle_opcodes._Rewriter({})
    rewriting.stack = stack = Counting()
    rewriting.of(io.BytesIO(b"N" * 1000 + b"(t" * 1000 + b"((0t0."))
    assert stack.copied == 0


def test_numbers_in_the_memo_that_are_not_cut_off_are_not_looked_at() -> None:
    class Places(dict[Any, int]):
        looked = 0

        def popitem(self) -> tuple[Any, int]:
            Places.looked += 1
            return super().popitem()

        def __iter__(self) -> Any:
            raise AssertionError("all of them")

        items = __iter__

    rewriting = pickle_opcodes._Rewriter({})
    rewriting.memo_positions = Places()
    kept = b"".join(b"r" + number.to_bytes(4, "little") for number in range(2, 1000))
    rewriting.of(io.BytesIO(unicode("a") + kept + (unicode("m") + unicode("n") + b"\x93") * 500 + b"."))
    assert Places.looked <= 500


def test_a_number_of_the_memo_that_is_given_again_has_its_last_object() -> None:
    text = (
        b"\x80\x04(" + unicode("collections") + b"q\x00" + unicode("OrderedDict") + b"q\x01\x93K\x07q\x00h\x00h\x01t."
    )
    assert pickle.loads(text)[1:] == (7, 7, "OrderedDict")
    assert pickle.loads(said(text)[1]) == pickle.loads(text)


class Settings(dict[str, Any]):
    """A dict that wants arguments by name."""

    def __new__(cls, *_: Any, **__: Any) -> Settings:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[Any, Any]:
        return (), {"weight": 1}


class Items(list[Any]):
    """A list that wants arguments by name."""

    def __new__(cls, *_: Any, **__: Any) -> Items:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[Any, Any]:
        return (), {"weight": 1}


class Wanting:
    def __new__(cls, **_: Any) -> Wanting:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[Any, Any]:
        return (), {"weight": 1}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_object_that_wants_arguments_by_name_does_no_harm(protocol: int, tmp_path: Path) -> None:
    beside = {
        "object": Wanting(),
        "dict": Settings(a=1),
        "again": Settings(b=Settings(c=Wanting())),
        "list": Items([1]),
    }
    found = read(saved({"model": {"a": torch.ones(2)}, **beside}, tmp_path / "a.pth", protocol, True))
    assert found.tensors["a"].tolist() == [1, 1]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [0, 1])
def test_the_two_oldest_protocols_are_named(protocol: int, zipped: bool, tmp_path: Path) -> None:
    path = saved({"a": torch.ones(2)}, tmp_path / "a.pth", protocol, zipped)
    with pytest.raises(UserError, match=r"protocol 0 or 1, which .* with pickle_protocol=2") as caught:
        read(path)
    assert "Download" not in str(caught.value)
