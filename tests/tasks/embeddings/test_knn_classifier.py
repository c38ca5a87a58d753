"""The votes of nearest neighbors, compared with scikit-learn's classifier."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from resnets.tasks.embeddings.embedding_index import unit_length
from resnets.tasks.embeddings.knn_classifier import TEMPERATURE, vote_logits


@pytest.mark.parametrize("neighbors", [1, 5, 40])
def test_the_probabilities_are_those_of_weighted_neighbors(neighbors: int) -> None:
    random = np.random.default_rng(0)
    classes = random.integers(0, 4, 40)
    vectors, queries = (unit_length(random.normal(size=(n, 6)).astype(np.float32)) for n in (40, 9))
    logits = vote_logits(vectors, classes, queries, k=neighbors, num_classes=4)
    reference = KNeighborsClassifier(
        neighbors, weights=lambda distance: np.exp((1 - distance) / TEMPERATURE), metric="cosine", algorithm="brute"
    ).fit(vectors, classes)
    np.testing.assert_allclose(logits.softmax(1), reference.predict_proba(queries), atol=2e-5)
    assert np.isfinite(logits.numpy()).all()
