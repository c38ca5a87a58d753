"""The benchmark of a search measures what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import nearest


def test_times_are_of_the_index_and_the_queries_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    search, searched = nearest.hits, []

    def record(index: Any, queries: np.ndarray, top_k: int) -> Any:
        searched.append((index.vectors.shape, queries))
        return search(index, queries, top_k)

    monkeypatch.setattr(nearest, "hits", record)
    found = nearest.measure(count=50, size=8, queries=3)
    assert [shape for shape, _ in searched] == [(50, 8)] * 3
    queries = np.concatenate([each for _, each in searched])
    assert len(np.unique(queries, axis=0)) == 3
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, rtol=1e-6)
    assert found["longest_query_ms"] >= found["query_ms"] > 0
    assert found["load_seconds"] > 0
