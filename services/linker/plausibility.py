"""Is a latent still one that the generator's own mapping network would give?"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]

SHRINKAGE = 1e-3


def mahalanobis(
    latents: NDArray[np.floating], mean: Array, covariance: Array, shrinkage: float = SHRINKAGE
) -> Array:
    """Returns the Mahalanobis distance of latents from the generator's own.

    The covariance S is shrunk to `(1 - a) S + a tr(S)/m I` (Ledoit and Wolf, "A well-conditioned
    estimator for large-dimensional covariance matrices", 2004, with a fixed a), because w may
    live in a subspace: leaving it by a small step is then far, but not infinitely far.

    Args:
        latents: (n, m).
        mean: (m,) of the generator's w.
        covariance: (m, m) of the generator's w.
        shrinkage: The amount a, above 0 and at most 1.

    Returns:
        (n,) distances, not negative, without unit; the root of m is typical of Gaussian latents.
        Compare with `Linker.latent_distance_quantiles`.

    Raises:
        InvalidArgumentError: For a shrinkage out of range or shapes that do not fit.
    """
    size = len(mean)
    if latents.ndim != 2 or latents.shape[1] != size or covariance.shape != (size, size):
        raise InvalidArgumentError(
            f"latents {latents.shape}, mean {mean.shape} and covariance {covariance.shape} do not "
            "fit: they must be (n, m), (m,) and (m, m)",
            reason="BAD_SHAPE",
            field="latents",
        )
    factor = _factor(covariance, shrinkage)
    white = scipy.linalg.solve_triangular(factor, (latents - mean).T, lower=True)
    distances: Array = np.sqrt(np.einsum("mn,mn->n", white, white))
    return distances


def left_out(distances: Array, count: int, shrinkage: float = SHRINKAGE) -> Array:
    """What distances of some of the generator's own would be if mean and covariance were taken without them.

    Whoever takes part in the mean and covariance that he is measured by is nearer than a newcomer: with few
    latents for their dimensions by far. One latent is left out at a time (Sherman and Morrison 1950); the
    amount that the covariance is shrunk by stays as it is, which matters by shrinkage / count.

    Args:
        distances: (n,) of `mahalanobis`, of latents that mean and covariance were taken of.
        count: How many latents these were taken of in all.
        shrinkage: As for `mahalanobis`.

    Returns:
        (n,) distances; those given where there are fewer than three latents.
    """
    if count < 3:
        return distances
    grown = (count - 1) / (count - 2)
    own = (1 - shrinkage) * count / ((count - 1) * (count - 2))
    squares = distances**2 / grown
    further: Array = count / (count - 1) * np.sqrt(squares / np.maximum(1 - own * squares, 1e-12))
    return further


def whitener(covariance: Array, shrinkage: float = SHRINKAGE) -> Array:
    """The matrix M (m, m) for which ``|M (w - mean)|`` is the distance of `mahalanobis`.

    It is stored with a linker, so that those who move w along known lines need not ask for each point.

    Raises:
        InvalidArgumentError: As `mahalanobis`.
    """
    identity = np.eye(len(covariance))
    inverse: Array = scipy.linalg.solve_triangular(_factor(covariance, shrinkage), identity, lower=True)
    return inverse


def _factor(covariance: Array, shrinkage: float) -> Array:
    """The lower Cholesky factor of the shrunk covariance."""
    if not 0.0 < shrinkage <= 1.0:
        raise InvalidArgumentError(
            f"shrinkage {shrinkage} is out of range: it must be above 0 and at most 1",
            reason="BAD_SHRINKAGE",
            field="shrinkage",
        )
    size = len(covariance)
    scale = float(np.trace(covariance)) / size
    if scale <= 0:
        raise InvalidArgumentError(
            "the covariance is zero: a single latent is no distribution to be near to",
            reason="ZERO_COVARIANCE",
            field="covariance",
        )
    shrunk = (1.0 - shrinkage) * covariance + shrinkage * scale * np.eye(size)
    factor: Array = scipy.linalg.cholesky(shrunk, lower=True)
    return factor
