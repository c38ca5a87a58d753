"""The benchmark of a search runs, and counts what it says."""

from __future__ import annotations

from benchmarks import nearest


def test_times_are_of_the_index_that_was_asked_for() -> None:
    found = nearest.measure(count=50, size=8, queries=3)
    assert found["longest_query_ms"] >= found["query_ms"] > 0
    assert found["load_seconds"] > 0
