"""`shard` as a user gives it."""

from __future__ import annotations

import pytest

from resnets.errors import UserError
from resnets.tasks.predict_parts.shard import parse_shard


@pytest.mark.parametrize(("text", "shard"), [(None, (1, 1)), ("3/64", (3, 64)), ("64/64", (64, 64))])
def test_a_shard(text: str | None, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "a/b", "1.0/4"])
def test_another_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="`shard` is i/n"):
        parse_shard(text)
