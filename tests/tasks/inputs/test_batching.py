"""Full batches out of images of which some cannot be read."""

from __future__ import annotations

import pytest

from resnets.errors import UserError
from resnets.tasks.inputs.batching import Prepared, check_options, chunks


def _prepared(readable: str) -> list[Prepared]:
    return [Prepared(str(number), [], None if mark == "1" else "bad") for number, mark in enumerate(readable)]


def test_unreadable_images_leave_no_batch_half_empty() -> None:
    made = list(chunks(_prepared("1011010111"), 3))
    assert [[entry.name for entry in chunk] for chunk in made] == [list("0123"), list("45678"), list("9")]


def test_many_unreadable_images_do_not_pile_up() -> None:
    assert [len(chunk) for chunk in chunks(_prepared("0" * 20), 2)] == [8, 8, 4]


def test_no_batch_and_no_number_of_threads_below_what_makes_sense() -> None:
    with pytest.raises(UserError, match="`batch` must be 1 or more; received 0"):
        check_options(0, None)
    with pytest.raises(UserError, match="`workers` must be 0 or more; received -1"):
        check_options(1, -1)
