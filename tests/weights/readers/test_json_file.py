"""JSON by others."""

from __future__ import annotations

import pytest

from resnets.errors import UserError
from resnets.weights.readers import json_file


def test_an_object_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"é": [1, {"b": null}]}', encoding="utf-8")
    assert json_file.read(tmp_path / "a.json") == {"é": [1, {"b": None}]}


@pytest.mark.parametrize(("data", "said"), [
    (b"[1]", "no object"), (b"", "not the JSON"), (b"{'a': 1}", "not the JSON"),
    (b"\xff{}", "UnicodeDecodeError"), (b'{"a":' * 200_000, "RecursionError"),
    (b'{"a": ' + b"9" * 10_000 + b"}", "ValueError"), (b" " * (json_file.LIMIT + 1), "more than 16,777,216 bytes"),
])  # fmt: skip
def test_anything_else_is_one_line(data, said):
    with pytest.raises(UserError, match=said) as caught:
        json_file.parse(data, "'x.json'")
    assert "\n" not in str(caught.value)
    assert "'x.json'" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        json_file.read(tmp_path)
