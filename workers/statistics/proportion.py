"""Intervals of shares.

Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

Doubles = NDArray[np.float64]


def wilson(successes: ArrayLike, trials: ArrayLike, level: float = 0.95) -> tuple[Doubles, Doubles]:
    """Lower and upper ends of the interval of each share, in the shape of the counts, 0 to 1.

    It holds its level for few trials and for shares of 0 and 1 as well, where successes over trials plus or
    minus two standard errors has no width.

    Args:
        successes: Counts, 0 to trials.
        trials: Counts, of a shape that goes with it.
        level: Between 0 and 1.

    Returns:
        NaN where there are no trials.

    Raises:
        ValueError: A count is negative, successes exceed trials, or level is out of range.
    """
    hits, counts = np.broadcast_arrays(_doubles(successes), _doubles(trials))
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; a number between 0 and 1 is needed")
    if (hits < 0).any() or (hits > counts).any():
        raise ValueError("successes must be from 0 to the number of trials")
    z = float(norm.ppf((1 + level) / 2))
    known = np.where(counts > 0, counts, np.nan)
    share = hits / known
    centre = (share + z**2 / (2 * known)) / (1 + z**2 / known)
    half = z * np.sqrt(share * (1 - share) / known + z**2 / (4 * known**2)) / (1 + z**2 / known)
    # Where none or all succeed the end is 0 or 1; rounding must not move it.
    lower = np.where(hits == 0, 0 * known, np.maximum(centre - half, 0))
    upper = np.where(hits == counts, 0 * known + 1, np.minimum(centre + half, 1))
    return lower, upper


def _doubles(values: ArrayLike) -> NDArray[Any]:
    return np.asarray(values, np.float64)
