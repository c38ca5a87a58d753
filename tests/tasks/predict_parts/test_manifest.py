"""Errors are counted by kind."""

from __future__ import annotations

import pytest

from resnets.tasks.predict_parts.manifest import kind_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("does not exist; check the path.", "does not exist"),
        ("has 5,000 x 12 pixels, more than 89,478,485; resize it.", "has x pixels, more than"),
        ("cannot be opened (Permission denied); check it.", "cannot be opened"),
        (
            "ends beyond its tar: 'a.tar' is cut short, at byte 7; write it.",
            "ends beyond its tar: is cut short, at byte",
        ),
    ],
)
def test_errors_of_one_kind_are_equal(error: str, kind: str) -> None:
    assert kind_of(error) == kind
