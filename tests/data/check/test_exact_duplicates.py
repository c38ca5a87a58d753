"""Files with equal bytes are one group."""

from __future__ import annotations

from resnets.data.check.exact_duplicates import find_exact_duplicates


def test_groups_of_equal_files() -> None:
    assert find_exact_duplicates(["b", "a", "c", "a", "b", "b"]) == [[0, 4, 5], [1, 3]]
    assert find_exact_duplicates([None, "", "a", "", None]) == []  # files that could not be read
