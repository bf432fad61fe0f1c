"""The false discovery rate over everything that was looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def benjamini_hochberg(p: Array, total: int | None = None) -> Array:
    """Q of each p: the smallest false discovery rate at which it would be called a discovery.

    Source: Benjamini and Hochberg, "Controlling the False Discovery Rate" (1995).

    Args:
        p: Any shape; NaN where there was no test.
        total: Number of tests, where more were possible than carried out: the others count as p = 1.

    Returns:
        q in the shape of p; NaN where p is.

    Raises:
        ValueError: `total` is less than the number of p.
    """
    flat = np.asarray(p, np.float64).ravel()
    places = np.flatnonzero(np.isfinite(flat))
    count = len(places) if total is None else total
    if count < len(places):
        raise ValueError(f"{len(places)} tests are more than the total of {count}")
    q = np.full(flat.shape, np.nan)
    if len(places):
        order = places[np.argsort(flat[places], kind="stable")]
        raw = flat[order] * count / np.arange(1, len(order) + 1)
        q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q.reshape(np.shape(p))
