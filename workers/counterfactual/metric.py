"""How unusual a shift of features is, by what features do together in the images of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

_SHRINKAGE = 0.01
"""Share of the covariance that is replaced by its mean on the diagonal, since samples are finite."""


@dataclass(frozen=True)
class Metric:
    """A squared length of shifts, ``d^T P d``, by the eigenvectors of P.

    Attributes:
        values: (units,) eigenvalues of P, 0 or more.
        vectors: (units, units), its eigenvectors as columns.
    """

    values: Doubles
    vectors: Doubles

    @classmethod
    def of(cls, matrix: Doubles) -> Self:
        """The length of ``matrix @ d``, of a matrix (k, units)."""
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        return cls(np.maximum(values, 0), vectors)

    @classmethod
    def of_sample(cls, features: NDArray[np.floating]) -> Self:
        """The Mahalanobis length by the covariance, a little shrunk, of features (images, units)."""
        covariance = np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False))
        values, vectors = np.linalg.eigh(covariance)
        mean = max(float(values.mean()), 1e-12)
        return cls(1 / ((1 - _SHRINKAGE) * np.maximum(values, 0) + _SHRINKAGE * mean), vectors)

    def scaled(self, scale: Doubles) -> Metric:
        """That of shifts which are multiplied by scale (units,) first."""
        return Metric.of(np.sqrt(self.values)[:, None] * self.vectors.T * scale)

    def lengths(self, shifts: Doubles) -> Doubles:
        """Lengths (...) of shifts (..., units)."""
        lengths: Doubles = np.linalg.norm((shifts @ self.vectors) * np.sqrt(self.values), axis=-1)
        return lengths

    def root(self, weight: float) -> Doubles:
        """The matrix C (units, units) for which ``d = C x`` has ``|x|^2 = |d|^2 + weight d^T P d``."""
        return self.vectors / np.sqrt(1 + weight * self.values)
