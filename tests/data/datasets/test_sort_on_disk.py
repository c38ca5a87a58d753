"""Texts that are sorted by way of temporary files."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from resnets.data.datasets.sort_on_disk import sort_on_disk

TEXTS = st.lists(st.text(st.characters(), max_size=8), max_size=30)  # also surrogates, as in names that are no text


@given(TEXTS, st.integers(1, 40))
def test_texts_are_sorted_as_python_sorts_them(texts: list[str], most: int) -> None:
    assert list(sort_on_disk(iter(texts), most)) == sorted(texts)


def test_most_of_the_texts_are_not_in_memory() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in sort_on_disk((f"{number % 977:09d}.jpg" for number in range(count)), 1000)) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(20_000) < peak(5_000) + 500_000  # bytes; the further names have 930,000
