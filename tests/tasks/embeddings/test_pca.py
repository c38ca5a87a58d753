"""Principal components of vectors, compared with a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from resnets.errors import UserError
from resnets.tasks.embeddings.pca import fit_pca


def test_the_components_are_those_of_the_singular_values() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(50, 8)) @ random.normal(size=(8, 8)) + 5).astype(np.float32)
    projection = fit_pca(vectors, 3)
    centered = vectors.astype(np.float64) - vectors.astype(np.float64).mean(0)
    _, values, directions = np.linalg.svd(centered, full_matrices=False)
    assert np.abs(np.abs(projection.components @ directions[:3].T) - np.eye(3)).max() < 1e-5
    assert projection.explained == pytest.approx((values[:3] ** 2).sum() / (values**2).sum(), rel=1e-5)
    np.testing.assert_allclose(projection(vectors), centered @ projection.components.T, atol=1e-4)


def test_equal_vectors_have_no_variance_to_explain() -> None:
    vectors = np.tile(np.arange(6, dtype=np.float32), (5, 1))
    projection = fit_pca(vectors, 2)
    assert projection.explained == 0
    assert not projection(vectors).any()


def test_more_components_than_there_are() -> None:
    vectors = np.zeros((4, 8), np.float32)
    with pytest.raises(UserError, match="4 vectors of 8 numbers have at most 4 principal components; received `pca=5`"):
        fit_pca(vectors, 5)
