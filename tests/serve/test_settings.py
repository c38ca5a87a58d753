"""Settings that are refused, and a token that no log shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from resnets.errors import UserError
from resnets.serve.settings import ServerSettings, read_token


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 0}, "`batch` must be 1 or more; received 0."),
        ({"queue": -1}, "`queue` must be 1 or more"),
        ({"max_body_bytes": 0}, "`max_body_bytes` must be 1 or more"),
        ({"max_pixels": 10**9}, "`max_pixels` is at most 89,478,485"),
        ({"timeout_seconds": 0}, "`timeout_seconds` is a number of seconds above 0"),
        ({"drain_seconds": float("nan")}, "`drain_seconds` is a number of seconds above 0"),
        ({"requests_per_second": -1}, "`requests_per_second` must be 0 or more"),
        ({"cors": ("example.org",)}, "`cors` is an origin such as https://example.org; received 'example.org'"),
        ({"cors": ("https://example.org/",)}, "`cors` is an origin"),
        ({"cors": ("*",)}, "`cors` is an origin"),
        ({"token": "größe"}, "`token` has letters, digits and signs of ASCII"),
        ({"token": "two words"}, "`token` has letters"),
    ],
)
def test_what_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        ServerSettings(**values)


def test_the_token_is_not_shown() -> None:
    assert "Geheim" not in repr(ServerSettings(token="Geheim"))


def test_the_token_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc123" * 3 + "\n")
    assert read_token(str(file)) == "abc123" * 3
    for content in (" \n", "a" * 15):
        file.write_text(content)
        with pytest.raises(UserError, match=f"has {len(content.strip())} letters. Write a token of 16 or more"):
            read_token(str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="no ASCII"):
        read_token(str(file))
    with pytest.raises(UserError, match="No such file"):
        read_token(str(tmp_path / "gone"))
