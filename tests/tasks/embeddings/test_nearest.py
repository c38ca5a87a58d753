"""The nearest vectors, found exactly."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.tasks.embeddings import nearest as search
from resnets.tasks.embeddings.embedding_index import unit_length
from resnets.tasks.embeddings.nearest import nearest

pytest.importorskip("faiss")


def vectors(count: int, seed: int, size: int = 12) -> np.ndarray:
    return unit_length(np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32))


@pytest.mark.parametrize("numpy_limit", [1000, 10], ids=["numpy", "faiss"])
@pytest.mark.parametrize("count", [1, 7, 100])
def test_they_are_those_of_a_full_sort(numpy_limit: int, count: int) -> None:
    among, queries = vectors(60, 0), vectors(5, 1)
    similarities, rows = nearest(among, queries, count, numpy_limit=numpy_limit)
    wanted = queries.astype(np.float64) @ among.T.astype(np.float64)
    order = np.argsort(-wanted, axis=1)[:, :count]
    assert rows.tolist() == order.tolist()
    np.testing.assert_allclose(similarities, np.take_along_axis(wanted, order, axis=1), atol=1e-6)


def test_of_equally_similar_ones_the_first_come_first() -> None:
    among = np.repeat(vectors(3, 0), 40, axis=0)
    similarities, rows = nearest(among, among[50:51], 60)
    second = 0 if among[50] @ among[0] > among[50] @ among[80] else 80
    assert rows[0].tolist() == [*range(40, 80), *range(second, second + 20)]
    assert similarities[0, 0] == pytest.approx(1, abs=1e-6)


def test_queries_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    among, queries = vectors(60, 0), vectors(9, 1)
    whole = nearest(among, queries, 3)
    monkeypatch.setattr(search, "BLOCK_VALUES", 120)  # two queries at a time
    similarities, rows = nearest(among, queries, 3)
    assert rows.tolist() == whole[1].tolist()
    np.testing.assert_allclose(similarities, whole[0], atol=1e-6)
