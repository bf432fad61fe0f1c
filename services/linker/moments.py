"""Second moments of streamed rows, centred, mergeable and removable.

Rows are the joined pair `(r, w)`. Only the upper triangle of the scatter matrix is kept up to date:
half the arithmetic, and the cross products `r'w` lie in it whole. Centring happens before products
are formed, so that a large common offset of the features costs no digits.

Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979, for matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Count, mean, centred scatter and range of rows `(r, w)`.

    Attributes:
        features: How many of the columns are features; the others are latents.
        count: Number of rows.
        mean: (columns,).
        scatter: (columns, columns) in Fortran order, sum over rows of the products of deviations
            from the mean; **only the upper triangle is meaningful**.
        minimum: (columns,), +inf while there is no row.
        maximum: (columns,), -inf while there is no row.
    """

    features: int
    count: int
    mean: Array
    scatter: Array
    minimum: Array
    maximum: Array

    @classmethod
    def empty(cls, features: int, latents: int) -> Moments:
        """Returns the moments of no rows."""
        columns = features + latents
        return cls(
            features=features,
            count=0,
            mean=np.zeros(columns),
            scatter=np.zeros((columns, columns), order="F"),
            minimum=np.full(columns, np.inf),
            maximum=np.full(columns, -np.inf),
        )

    @property
    def latents(self) -> int:
        """Number of latent columns."""
        return len(self.mean) - self.features

    @property
    def cross(self) -> Array:
        """(features, latents) centred sum of products of features with latents; a view."""
        return self.scatter[: self.features, self.features :]

    @property
    def feature_variance(self) -> Array:
        """(features,) population variance of each unit."""
        return np.diagonal(self.scatter)[: self.features] / max(self.count, 1)

    @property
    def mean_variance(self) -> float:
        """Mean over all units of their population variance."""
        return float(self.feature_variance.mean())

    @property
    def latent_scatter_trace(self) -> float:
        """Sum over rows and dimensions of the squared deviation of w from its mean."""
        return float(np.diagonal(self.scatter)[self.features :].sum())

    @property
    def active(self) -> NDArray[np.bool_]:
        """(features,) units that take more than one value; the others carry no information."""
        below: NDArray[np.bool_] = self.minimum < self.maximum
        return below[: self.features] & (self.feature_variance > 0)

    def latent_covariance(self) -> Array:
        """Returns the (latents, latents) unbiased covariance of w, both triangles."""
        upper = np.triu(self.scatter[self.features :, self.features :])
        full: Array = upper + np.triu(upper, 1).T
        return full / max(self.count - 1, 1)

    def merge(self, other: Moments) -> Moments:
        """Returns the moments of this and the other rows together."""
        if not other.count:
            return self
        if not self.count:
            return other
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = np.add(self.scatter, other.scatter, order="F")
        return Moments(
            features=self.features,
            count=count,
            mean=self.mean + shift * (other.count / count),
            scatter=add_outer(scatter, shift, self.count * other.count / count),
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
        )

    def without(self, part: Moments, minimum: Array, maximum: Array) -> Moments:
        """Returns the moments of these rows less those of a part of them.

        Args:
            part: Moments of some of the rows.
            minimum: (columns,) minimum of the rows that remain, which cannot be recovered by
                subtraction.
            maximum: (columns,) their maximum.
        """
        count = self.count - part.count
        mean = (self.mean * self.count - part.mean * part.count) / max(count, 1)
        shift = part.mean - mean
        scatter = np.subtract(self.scatter, part.scatter, order="F")
        scatter = add_outer(scatter, shift, -part.count * count / max(self.count, 1))
        return Moments(self.features, count, mean, scatter, minimum, maximum)


def add_outer(scatter: Array, vector: Array, factor: float) -> Array:
    """Adds `factor * vector vector'` to the upper triangle of a Fortran-ordered matrix, in place."""
    updated: Array = blas.dsyr(factor, vector, a=scatter, overwrite_a=1)
    return updated


def add_rows(scatter: Array, rows: Array) -> Array:
    """Adds `rows' rows` to the upper triangle of a Fortran-ordered matrix, in place.

    Args:
        scatter: (columns, columns) float64, Fortran order.
        rows: (n, columns) float64, C order.
    """
    updated: Array = blas.dsyrk(1.0, rows.T, beta=1.0, c=scatter, overwrite_c=1)
    return updated
