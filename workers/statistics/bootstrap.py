"""Bootstrap intervals of many means at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 23
"""Resampled means that are held at once: 64 MB."""

Array = NDArray[np.float64]


def intervals(values: Array, resamples: int, seed: int, level: float) -> tuple[Array, Array]:
    """Percentile intervals of the mean of each row, over its finite values.

    Images are drawn with replacement, the same draws for every row, so that one matrix product resamples
    all rows. Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        values: (rows, images), NaN where there is no value; at least one value a row.
        resamples: How many.
        seed: Of the draws.
        level: E.g. 0.95.

    Returns:
        Lower and upper ends, (rows,) each.
    """
    rows, images = values.shape
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)
    weights = draws.T.astype(np.float64)
    known = np.isfinite(values)
    safe = np.where(known, values, 0.0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    lower, upper = np.empty(rows), np.empty(rows)
    size = max(1, BLOCK // resamples)
    for first in range(0, rows, size):
        part = slice(first, first + size)
        sums = safe[part] @ weights
        if known[part].all():
            sums /= images
        else:
            counts = known[part] @ weights
            # A resample without any measured image says nothing of the mean.
            sums = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        lower[part], upper[part] = _quantiles(sums, tails)
    return lower, upper


def _quantiles(sums: Array, tails: list[float]) -> Array:
    if np.isnan(sums).any():
        found: Array = np.nanquantile(sums, tails, axis=1)
        return found
    places = [round(tail * (sums.shape[1] - 1)) for tail in tails]
    ordered = np.partition(sums, places, axis=1)
    return ordered[:, places].T
