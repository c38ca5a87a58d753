"""The nearest of many vectors by cosine similarity, exactly."""

from __future__ import annotations

import numpy as np

from resnets.errors import UserError

NUMPY_LIMIT = (
    1_000_000  # vectors; above, faiss searches them, with several threads and without a matrix of similarities
)
BLOCK_VALUES = 2**26  # similarities that are computed at once


def nearest(
    vectors: np.ndarray, queries: np.ndarray, count: int, *, numpy_limit: int = NUMPY_LIMIT
) -> tuple[np.ndarray, np.ndarray]:
    """The similarities, float32 (Q, k), and the rows, int64 (Q, k), of the k nearest vectors of each query, nearest first.

    Of equally similar ones the first rows come first with numpy. k is `count`, or the number of vectors if that is less.

    Args:
        vectors: float32 (N, D) of unit length.
        queries: float32 (Q, D) of unit length.
        numpy_limit: above this number of vectors, faiss searches.

    Raises:
        UserError: faiss is needed and not installed.
    """
    count = min(count, len(vectors))
    if len(vectors) > numpy_limit:
        return _nearest_by_faiss(vectors, queries, count)
    step = max(BLOCK_VALUES // len(vectors), 1)
    found = [_nearest_of_block(vectors, queries[start : start + step], count) for start in range(0, len(queries), step)]
    similarities, rows = zip(*found, strict=True)
    return np.concatenate(similarities), np.concatenate(rows)


def _nearest_of_block(vectors: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    similarities = (vectors @ queries.T).T  # (Q, N); a product with one query is a matrix times a vector
    if count < len(vectors):
        least = np.partition(similarities, len(vectors) - count, axis=1)[:, len(vectors) - count]
    else:
        least = similarities.min(axis=1)
    rows = np.empty((len(queries), count), np.int64)
    for query, values in enumerate(similarities):
        near = np.flatnonzero(values >= least[query])  # more than `count` where several are equal to the last
        rows[query] = near[np.argsort(-values[near], kind="stable")[:count]]
    return np.take_along_axis(similarities, rows, axis=1), rows


def _nearest_by_faiss(vectors: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        import faiss
    except ImportError:
        raise UserError(
            f"A search among {len(vectors):,} vectors needs faiss, which is not installed: pip install 'resnets[search]'"
        ) from None
    similarities, rows = faiss.knn(
        np.ascontiguousarray(queries), np.ascontiguousarray(vectors), count, metric=faiss.METRIC_INNER_PRODUCT
    )
    return similarities, rows
