"""Files for `fuzz_readers.py` that hypothesis puts together from the parts of real ones."""

from __future__ import annotations

import io
import json
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

Judge = Callable[[str, bytes], None]

_SIZES = st.sampled_from([0, 1, 2, 3, 4, 8, 27, 108, 432, 2**31, 2**40, 2**62, 2**64, -1]) | st.integers(0, 600)
_GLOBALS = (b"cposix\nsystem\n", b"cbuiltins\neval\n", b"cbuiltins\nbytearray\n", b"ctorch.storage\nUntypedStorage\n",
            b"ccollections\nOrderedDict\n", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
            b"ctorch\nSize\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nTensor\n")  # fmt: skip


def run(reader: str, first: int, count: int, files: list[bytes], judge: Judge) -> None:
    """Judge `count` inventions, the same for the same `first`."""
    strategy = {"pickle": _pickles, "safetensors": _safetensors, "h5": _h5, "keras": _keras}[reader](files)
    done = 0

    @seed(first)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def each(data: bytes) -> None:
        nonlocal done
        judge(f"{reader}/invention {done} of seed {first}", data)
        done += 1

    each()
    while done < count:  # hypothesis ends sooner when it believes to have seen all
        first, before = first + 1, done
        seed(first)(each)()
        assert done > before


def _pickles(files: list[bytes]) -> st.SearchStrategy[bytes]:
    """Instructions of real pickles in another order, with some names and raw bytes between."""
    zipped = next(file for file in files if file.startswith(b"PK"))
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    text = members[name]
    starts = [position for _, _, position in pickletools.genops(text)]
    pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    some = (
        st.sampled_from(pieces)
        | st.sampled_from(_GLOBALS)
        | st.sampled_from(b"RQbotseu()}]0N2").map(lambda x: bytes([x]))
    )

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        start, length = draw(st.integers(0, len(pieces))), draw(st.integers(0, 40))
        end = draw(st.sampled_from([start, start + length]))
        inserted = draw(st.lists(some | st.binary(max_size=5), max_size=8))
        content = b"".join([*pieces[:start], *inserted, *pieces[end:]])
        return _zip([(key, content if key == name else value, 0) for key, value in members.items()])

    return build()


def _safetensors(_: list[bytes]) -> st.SearchStrategy[bytes]:
    """Headers that are right, nearly right, or any JSON."""
    entry = st.fixed_dictionaries({
        "dtype": st.sampled_from(["F32", "F16", "BF16", "I64", "F8_E4M3", "X", "", 3]),
        "shape": st.lists(_SIZES, max_size=5),
        "data_offsets": st.lists(_SIZES, min_size=1, max_size=3) | st.just([0, 4]),
    })  # fmt: skip
    anything = st.recursive(
        st.none() | st.floats() | st.text(max_size=5) | _SIZES, lambda inner: st.lists(inner, max_size=3)
    )
    header = st.dictionaries(st.text(max_size=6) | st.just("__metadata__"), entry | anything, max_size=4)

    def build(values: Any, tail: bytes, off: int) -> bytes:
        text = json.dumps(values).encode()
        return struct.pack("<Q", max(0, len(text) + off)) + text + tail

    def sound(shapes: list[list[int]], wrong: Any, off: int) -> bytes:
        values, at = {}, 0
        for index, shape in enumerate(shapes):
            end = at + 4 * math.prod(shape)
            values[str(index)] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
            at = end
        return build(values | wrong, bytes(at), off)

    offs = st.sampled_from([0, 0, 0, 1, -1, 2**20, 2**40])
    wrongs = st.just({}) | st.just({}) | st.dictionaries(st.sampled_from("01x"), entry | anything, max_size=1)
    shapes = st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=1, max_size=4)
    return st.builds(build, header, st.binary(max_size=64), offs) | st.builds(sound, shapes, wrongs, offs)


def _h5(_: list[bytes]) -> st.SearchStrategy[bytes]:
    """Trees of groups, datasets and links of every kind."""
    import h5py

    kinds = (
        "plain",
        "huge",
        "gzip",
        "chunks",
        "external",
        "virtual",
        "text",
        "soft",
        "outside",
        "hard",
        "cycle",
        "empty",
    )
    node = st.tuples(st.sampled_from(["layers", "vars", "0", "a", "b/vars/0", "model_weights", "optimizer"]),
                     st.sampled_from(kinds), st.integers(0, 6), _SIZES.filter(lambda size: 0 <= size < 2**41))  # fmt: skip
    names = st.lists(st.sampled_from(["a", "layers", "b/vars/0", "none", "é", ""]), max_size=4)

    def build(nodes: list[Any], layers: list[str] | None) -> bytes:
        target = io.BytesIO()
        with h5py.File(target, "w") as file:
            groups = [file]
            for index, (name, kind, where, size) in enumerate(nodes):
                group = groups[where % len(groups)]
                _add(group, f"{name}{index if name == 'a' else ''}", kind, size, groups)
            if layers is not None:
                file.attrs["layer_names"] = [name.encode() for name in layers]
        return target.getvalue()

    def _add(group: Any, name: str, kind: str, size: int, groups: list[Any]) -> None:
        if name in group:
            return
        small = min(size, 1000)
        makers: dict[str, Callable[[], Any]] = {
            "plain": lambda: group.create_dataset(name, shape=(small,), dtype="<f4", data=[1.0] * small),
            "huge": lambda: group.create_dataset(name, shape=(size,), dtype=">f8"),
            "gzip": lambda: group.create_dataset(
                name, shape=(10 * small + 1,), dtype="f4", compression="gzip", fillvalue=1
            ),
            "chunks": lambda: group.create_dataset(
                name, shape=(small, 3), maxshape=(None, 3), dtype="f4", chunks=(small + 1, 3)
            ),
            "external": lambda: group.create_dataset(name, (small,), "u1", external=[("/etc/passwd", 0, small)]),
            "virtual": lambda: group.create_virtual_dataset(name, h5py.VirtualLayout((small + 1,), "f4")),
            "text": lambda: group.create_dataset(name, data=["x"] * small, dtype=h5py.string_dtype()),
            "soft": lambda: group.__setitem__(name, h5py.SoftLink("/layers")),
            "outside": lambda: group.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/")),
            "hard": lambda: group.__setitem__(name, groups[-1]),
            "cycle": lambda: group.__setitem__(name, groups[0]),
            "empty": lambda: group.create_dataset(name, data=h5py.Empty("f4")),
        }
        try:
            makers[kind]()
        except (ValueError, RuntimeError, OSError, TypeError, KeyError):  # a tree that h5py itself refuses to write
            groups.append(group.require_group(f"g{len(groups)}"))

    return st.builds(build, st.lists(node, max_size=8), st.none() | names)


def _keras(files: list[bytes]) -> st.SearchStrategy[bytes]:
    """Archives with real and other members, some twice, some outside, some packed."""
    with zipfile.ZipFile(io.BytesIO(files[0])) as archive:
        real = {name: archive.read(name) for name in archive.namelist()}
    names = st.sampled_from([*real, *real, *real, "../up", "/root", "C:\\x", "assets/a", "sub/model.weights.h5", "é"])
    content = st.sampled_from([*real.values(), b"", b"{}", b"[]", bytes(2**22), b"[" * 100_000]) | st.binary(
        max_size=40
    )
    extra = st.lists(st.tuples(names, content, st.sampled_from([0, 0, 8, 12, 14])), max_size=3)

    def build(kept: dict[str, bool], more: list[Any]) -> bytes:
        return _zip([*((name, real[name], 0) for name in real if kept[name]), *more])

    return st.builds(
        build, st.fixed_dictionaries({name: st.sampled_from([True, True, True, False]) for name in real}), extra
    )


def _zip(members: list[tuple[str, bytes, int]]) -> bytes:
    import warnings

    target = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(target, "w") as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content, method in members:
            archive.writestr(name, content, compress_type=method)
    return target.getvalue()
