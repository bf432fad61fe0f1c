"""How unusual a shift of features is, by what features do together in the images of a fit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
T = TypeVar("T")

_SHRINKAGE = 0.01
"""Share of the covariance that is replaced by its mean on the diagonal, since samples are finite."""
_PULSE = 0.5
"""Seconds between the beats of what is done aside."""


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
        values, vectors = _decomposed(features.tobytes(), features.dtype.str, features.shape[1])
        mean = max(float(values.mean()), 1e-12)
        return cls(1 / ((1 - _SHRINKAGE) * np.maximum(values, 0) + _SHRINKAGE * mean), vectors)

    def scaled(self, scale: Doubles) -> Metric:
        """That of shifts which are multiplied by scale (units,) first."""
        return Metric.of(np.sqrt(self.values)[:, None] * self.vectors.T * scale)

    def lengths(self, shifts: Doubles) -> Doubles:
        """Lengths (...) of shifts (..., units)."""
        lengths: Doubles = np.linalg.norm((shifts @ self.vectors) * np.sqrt(self.values), axis=-1)
        return lengths

    def shares(self, weight: float) -> Doubles:
        """The s (units,) for which ``d = vectors @ (s * x)`` has ``|x|^2 = |d|^2 + weight d^T P d``."""
        shares: Doubles = 1 / np.sqrt(1 + weight * self.values)
        return shares

    def slope(self, shift: Doubles) -> Doubles:
        """``P d`` (units,) of a shift d (units,), of few units or many."""
        moved = np.flatnonzero(shift)
        slope: Doubles = self.vectors @ (self.values * (shift[moved] @ self.vectors[moved]))
        return slope

    def between(self, units: NDArray[np.integer]) -> Doubles:
        """P (len(units), len(units)) between some units."""
        rows = self.vectors[units] * np.sqrt(self.values)
        between: Doubles = rows @ rows.T
        return between


@lru_cache(maxsize=1)
def _decomposed(sample: bytes, kind: str, units: int) -> tuple[Doubles, Doubles]:
    """Eigenvalues (units,) and eigenvectors (units, units) of the covariance of a sample.

    Of 2,048 units they take seconds, and all chunks of a job ask for those of the same sample.

    Args:
        sample: The bytes of features (images, units).
        kind: Of number, as NumPy writes it.
        units: How many.
    """
    features = np.frombuffer(sample, kind).reshape(-1, units).astype(np.float64)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(features, rowvar=False)))
    return values, vectors


def aside(work: Callable[[], T], beat: Callable[[], None]) -> T:
    """Does work that takes seconds and cannot be interrupted in another thread, and beats meanwhile.

    Args:
        work: What is done; it must let other threads run, as linear algebra does.
        beat: Called now and then; whatever it raises is raised, and work comes to its end for nothing.

    Returns:
        What work returned.
    """
    pool = ThreadPoolExecutor(1)
    try:
        future = pool.submit(work)
        while not future.done():
            beat()
            wait([future], _PULSE)
        return future.result()
    finally:
        pool.shutdown(wait=False)
