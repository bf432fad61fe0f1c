"""Do things go together over units? What one column of effects does, explained by several others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

SPARE = 8
"""Least units beyond the columns that explain: with fewer, anything is explained by chance."""

Doubles = NDArray[np.float64]


def explained(causes: NDArray[Any], responses: NDArray[Any]) -> tuple[Doubles, Doubles]:
    """How much of the variance of each response over units is explained by all causes together.

    Linear regression with a constant; R squared is adjusted for the number of causes (M. Ezekiel, 1930).

    Args:
        causes: (units, columns), finite; columns that do not vary, or repeat others, count for nothing.
        responses: (units, classes), finite.

    Returns:
        Adjusted R squared (classes,), at most 1 and below 0 where less than chance is explained; and p
        (classes,) of the F test. NaN where there are too few units, or a response does not vary.
    """
    units = len(causes)
    x = causes.astype(np.float64) - causes.mean(0)
    y = responses.astype(np.float64) - responses.mean(0)
    left, sizes, _ = np.linalg.svd(x / np.maximum(x.std(0), 1e-12) * (x.std(0) > 1e-9), full_matrices=False)
    rank = int((sizes > sizes.max(initial=0.0) * 1e-6).sum()) if sizes.size else 0
    total = (y**2).sum(0)
    spare = units - rank - 1
    nothing = np.full(y.shape[1], np.nan)
    if rank == 0 or spare < SPARE:
        return nothing, nothing.copy()
    basis = left[:, :rank]
    rest = np.maximum(total - ((basis.T @ y) ** 2).sum(0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 1e-12, 1 - rest / total, np.nan)
        adjusted = 1 - (1 - share) * (units - 1) / spare
        ratio = (share / rank) / ((1 - share) / spare)
    p = np.where(np.isfinite(share), f_distribution.sf(ratio, rank, spare), np.nan)
    return adjusted, p
