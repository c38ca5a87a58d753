"""Fewer numbers for each image, by the principal components of the vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resnets.errors import UserError


@dataclass(frozen=True)
class Projection:
    """x -> components (x - mean).

    Attributes:
        mean: float32 (D,).
        components: float32 (E, D), orthonormal, in descending order of the variance.
        explained: the fraction of the variance that is left.
    """

    mean: np.ndarray
    components: np.ndarray
    explained: float

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """float32 (N, D) -> (N, E)."""
        return (vectors - self.mean) @ self.components.T


def check_size(count: int, length: int, size: int) -> None:
    """Raise UserError where `count` vectors of `length` numbers do not have `size` principal components."""
    if not 1 <= size <= min(count, length):
        raise UserError(f"{count:,} vectors of {length:,} numbers have at most {min(count, length):,} principal components; "
                        f"received `pca={size}`.")  # fmt: skip


def fit_pca(vectors: np.ndarray, size: int) -> Projection:
    """The first `size` principal components of vectors, float32 (N, D).

    Raises:
        UserError: there are fewer images, or fewer numbers in a vector.
    """
    count, length = vectors.shape
    check_size(count, length, size)
    from sklearn.decomposition import PCA  # takes a second to import

    # A matrix of (D, D), where a singular value decomposition would need one more of (N, D).
    with np.errstate(invalid="ignore"):  # where all vectors are equal, the ratio is 0 / 0
        fitted = PCA(size, svd_solver="covariance_eigh").fit(vectors.astype(np.float64))
    explained = float(np.nan_to_num(fitted.explained_variance_ratio_).sum())
    return Projection(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32), explained)
