"""A pickle without effect: hostile instructions one by one."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import struct
import time

import pytest

from resnets.weights.rehearsal import Inert, Rehearsal, RehearsalError


def value(text: bytes):
    return Rehearsal(io.BytesIO(text)).load()


def reason(text: bytes) -> str:
    with pytest.raises(RehearsalError) as caught:
        value(text)
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_as_they_went(protocol):
    given = {"a": [1, 2.5, None, True, "é", (1, 2), -(2**70)], 3: {"b": ()}}
    assert value(pickle.dumps(given, protocol=protocol)) == given
    assert value(pickle.dumps(collections.OrderedDict(a=1), protocol=2)) == {"a": 1}


def test_a_name_with_odd_letters_is_printable():
    with pytest.raises(RehearsalError) as caught:
        value(b"\x80\x04\x8c\x04os\n\x1b\x8c\x06system\x93.")
    assert caught.value.calls == "os??.system"


@pytest.mark.parametrize("text", [
    b"\x80\x02r\xff\xff\xff\xff.",  # stored at an index for which an array would need 32 GiB
    b"\x80\x02N" + b"r\xff\xff\xff\x7f.",
    b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b".",  # bytes of a length that is not there
    b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.",
    b"\x80\x02\x82\x01.", b"\x80\x05\x97.", b"P0\n.", b"\x80\x02Q.", b"\x80\x09N.", b"", b".", b"N", b"(((((", b"t.",
    b"I" + b"9" * 100_000 + b"\n.",
])  # fmt: skip
def test_instructions_that_lie(text):
    begun = time.perf_counter()
    with contextlib.suppress(RehearsalError):
        assert value(text) is None
    assert time.perf_counter() - begun < 1


def test_keys_whose_hashes_collide_are_refused():
    modulus = 2**61 - 1
    assert "int as a key" in reason(pickle.dumps({modulus * 2**10: 1}, protocol=2))
    assert "tuple as a key" in reason(pickle.dumps({(1, 2): 1}, protocol=2))
    assert "a set" in reason(pickle.dumps({1, 2}, protocol=4))


def test_nothing_can_be_hung_on_what_a_name_stands_for():
    inert = b"\x80\x02ccollections\nOrderedDict\n"
    assert isinstance(value(inert + b"."), Inert)
    assert "cannot be read" in reason(inert + b"}X\x04\x00\x00\x00nameK\x01sb.")
    assert "cannot be read" in reason(inert + b")\x81.")
    assert "which is no function" in reason(b"\x80\x02ctorch\nFloatStorage\n)R.")


def test_nothing_is_copied_again_and_again():
    long = b"\x80\x02](" + b"K\x01" * 20_000 + b"eq\x00"  # a list, kept as number 0
    begun = time.perf_counter()
    shape = b"ctorch\nSize\nh\x00\x85R"
    assert "a shape is none" in reason(long + shape + b".")
    pairs = b"\x80\x02](" + b"U\x01aK\x01\x86" * 20_000 + b"eq\x00"
    dicts = b"(" + b"ccollections\nOrderedDict\nh\x00\x85R" * 5_000 + b"t."
    assert "copies more than 1,000,000" in reason(pairs + dicts)
    attributes = b"\x80\x02}(" + b"".join(b"U\x05%05dK\x01" % number for number in range(20_000)) + b"uq\x00"
    built = b"(" + b"ccollections\nOrderedDict\n)Rh\x00b" * 5_000 + b"t."
    assert "copies more than 1,000,000" in reason(attributes + built)
    assert time.perf_counter() - begun < 10


def test_deep_nesting_ends():
    assert value(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".") is not None
    assert "cannot be read" in reason(b"\x80\x02" + b"(" * 100_000 + b".")
