"""The JSON of requests: objects only, and none that would fill the memory."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from resnets.errors import UserError
from resnets.serve.routes import json_body

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "serve.md"


def test_an_object() -> None:
    assert json_body.parse('{"größe": [1, 2.5, null]}'.encode()) == {"größe": [1, 2.5, None]}


@pytest.mark.parametrize(("side", "is_read"), [(223, True), (224, False)])
def test_the_largest_image_in_lists_is_that_of_the_documentation(side: int, is_read: bool) -> None:
    row = "[" + ",".join(["[0,0,0]"] * side) + "]"
    shape = f'"name":"pixels","datatype":"UINT8","shape":[1,{side},{side},3]'
    content = f'{{"inputs":[{{{shape},"data":[[{",".join([row] * side)}]]}}]}}'.encode()
    with contextlib.nullcontext() if is_read else pytest.raises(UserError, match="more than 200,000 values"):
        json_body.parse(content)
    assert " 223x223 pixels" in DOCUMENTATION.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"1",
        b'"a"',
        b"\xff",
        b"[" * 50_000,
        b'{"a": ' * 50_000,
        b"null",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
    ],
)
def test_what_is_none(content: bytes) -> None:
    with pytest.raises(UserError, match=r"The body is no JSON|is an object"):
        json_body.parse(content)


@pytest.mark.parametrize("part", [b"[],", b"{},", b"0,", b'"",'])
def test_too_many_values_are_refused_before_they_are_read(part: bytes) -> None:
    with pytest.raises(UserError, match="more than 200,000 values"):
        json_body.parse(b'{"a": [' + part * 200_001 + b"0]}")


def test_long_numbers_are_refused() -> None:
    assert json_body.parse(b'{"a": -1234567890123456789}') == {"a": -1234567890123456789}
    with pytest.raises(UserError, match="a whole number of 4000 digits; 20 are read"):
        json_body.parse(b'{"a": ' + b"1" * 4000 + b"}")
