"""How much of all that a unit does falls on one thing.

The index is ours: the code of "Linking in Style" (arXiv 2409.16865) ranks no units by selectivity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def selectivity(standardised: NDArray[Any]) -> Doubles:
    """The share of each column in its unit's sum of sizes, (units, columns), 0 to 1.

    Args:
        standardised: (units, columns) standardised effects; NaN counts as 0. Parts and logits are to be
            given apart: each set of columns sums to 1 for itself.

    Returns:
        0 in all columns of a unit without effect.
    """
    size = np.abs(np.nan_to_num(standardised.astype(np.float64), nan=0.0))
    total = size.sum(1, keepdims=True)
    share: Doubles = size / np.where(total > 0, total, 1)
    return share


def shares_by_part(selectivity: Doubles, part_of_column: NDArray[Any], parts: int | None = None) -> Doubles:
    """The share of each part in its unit's effects, (units, parts): the sum over the part's columns.

    Args:
        selectivity: (units, columns) of `selectivity`.
        part_of_column: (columns,) the part that each column measures, from 0; -1 for none.
        parts: Number of parts; one more than the largest in part_of_column if left out.

    Raises:
        ValueError: There is not one part for every column, or a part is out of range.
    """
    of = np.asarray(part_of_column, np.int64)
    if of.shape != selectivity.shape[1:]:
        raise ValueError(f"{of.shape} parts for {selectivity.shape[1:]} columns; one for each is needed")
    count = int(of.max(initial=-1)) + 1 if parts is None else parts
    if of.size and not (of.min() >= -1 and of.max() < count):
        raise ValueError(f"parts {of.min()} to {of.max()} of {count}; -1 to {count - 1} are needed")
    belongs = of[:, None] == np.arange(count)
    shares: Doubles = selectivity @ belongs.astype(np.float64)
    return shares
