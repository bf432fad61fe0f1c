"""The false discovery rate over many tests.

Source: Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def benjamini_hochberg(p: NDArray[np.float64], total: int | None = None) -> Doubles:
    """Adjusted q of every p, in the same shape: those with q <= alpha have a rate of at most alpha.

    Args:
        p: Any shape, in [0, 1]; NaN is no test and stays NaN.
        total: Number of tests asked for in all, those not carried out counted as p = 1 (a unit that
            screening left out must not make the others look better); those in p if left out.

    Raises:
        ValueError: A p is out of range, or total is less than the tests in p.
    """
    values = np.asarray(p, np.float64)
    tested = ~np.isnan(values)
    known = values[tested]
    if known.size and not (known.min() >= 0 and known.max() <= 1):
        raise ValueError(f"p is between {known.min()} and {known.max()}; 0 to 1 is needed")
    tests = known.size if total is None else total
    if tests < known.size:
        raise ValueError(f"total is {tests}, but p holds {known.size} tests; at least as many are needed")
    order = np.argsort(known, kind="stable")
    steps = known[order] * tests / np.arange(1, known.size + 1)
    adjusted = np.empty_like(known)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1)
    q = np.full(values.shape, np.nan)
    q[tested] = adjusted
    return q
