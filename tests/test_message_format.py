"""Suggestions, and the wording of lists, counts and sizes in messages."""

from __future__ import annotations

import pytest

from resnets.message_format import format_bytes, format_list, pluralize, suggestion


def test_a_near_name_is_suggested() -> None:
    assert suggestion("resnet5O", ["resnet50", "wide_resnet50_2", "tiny"]) == " Did you mean 'resnet50'?"


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    assert suggestion("efficientnet", ["resnet50", "tiny"]) == ""
    assert suggestion("resnet50", []) == ""


def test_counts_and_lists() -> None:
    assert (pluralize(1, "image"), pluralize(2000, "image")) == ("1 image", "2,000 images")
    assert format_list(["a", "b"]) == "'a', 'b'"
    assert format_list(range(1002), 2) == "'0', '1' and 1,000 more"
    assert format_list(["a\n", "b"], quote=False, separator="; ") == "a\\n; b"
    assert format_list("abcde", 2, quote=False, separator="; ") == "a; b; and 3 more"


@pytest.mark.parametrize("separator", [", ", "; "])
def test_a_single_item_is_never_hidden(separator: str) -> None:
    """It would take no more room than "and 1 more"."""
    assert format_list("abc", 2, quote=False, separator=separator) == separator.join("abc")
    assert format_list("abcd", 2, quote=False).endswith(" and 2 more")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (65_376_541, "65.4 MB"), (5e15, "5.0 PB")],
)
def test_bytes_are_formatted(size: int, words: str) -> None:
    assert format_bytes(size) == words
