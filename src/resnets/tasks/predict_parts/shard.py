"""A shard: every n-th part of a job, for one of n processes that share nothing but the folder."""

from __future__ import annotations

from resnets.errors import UserError


def parse_shard(text: str | None) -> tuple[int, int]:
    """(3, 64) for "3/64"; all parts for None.

    Raises:
        UserError: it is no such text.
    """
    if text is None:
        return 1, 1
    index, _, count = text.partition("/")
    if not (_is_number(index) and _is_number(count) and 1 <= int(index) <= int(count)):
        raise UserError(f"`shard` is i/n, such as 3/64, with i from 1 to n; received '{text}'.")
    return int(index), int(count)


def in_shard(num_parts: int, shard: tuple[int, int]) -> range:
    """The numbers, from 0, of every n-th of the parts, for the shard (i, n) with i from 1; each part is in one shard."""
    return range(shard[0] - 1, num_parts, shard[1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
