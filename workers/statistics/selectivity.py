"""How much of what a unit does falls on one thing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def selectivity(standardised: Array) -> Array:
    """The share of each column in a unit's effects: |effect| over the sum of |effects|.

    Args:
        standardised: (units, columns) in standard deviations; NaN counts as 0.

    Returns:
        (units, columns), 0 to 1; rows sum to 1, or are 0 where a unit does nothing.
    """
    size = np.nan_to_num(np.abs(standardised))
    total = size.sum(1, keepdims=True)
    shares: Array = size / np.where(total > 0, total, 1.0)
    return shares


def shares_by_part(selectivity: Array, part_of_column: NDArray[np.integer]) -> Array:
    """The shares of parts: (units, parts), from those of columns (units, columns).

    Args:
        selectivity: (units, columns).
        part_of_column: (columns,) index of the part that each column is about.
    """
    parts = int(part_of_column.max(initial=-1)) + 1
    member = np.asarray(part_of_column)[:, None] == np.arange(parts)
    return selectivity @ member.astype(np.float64)
