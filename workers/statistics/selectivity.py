"""How much of all that a unit does falls on one thing.

The index is ours: the code of "Linking in Style" (arXiv 2409.16865) ranks no units by selectivity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.statistics.effects import Summary

Doubles = NDArray[np.float64]


def selectivity(standardised: NDArray[Any]) -> Doubles:
    """The share of each column in its unit's sum of sizes, (units, columns), 0 to 1.

    Args:
        standardised: (units, columns) sizes of effects, in scales, e.g. of `certain`; NaN counts as 0. Parts
            and logits are to be given apart: each set of columns sums to 1 for itself.

    Returns:
        0 in all columns of a unit without effect.
    """
    size = np.abs(np.nan_to_num(standardised.astype(np.float64), nan=0.0))
    total = size.sum(1, keepdims=True)
    share: Doubles = size / np.where(total > 0, total, 1)
    return share


def certain(summary: Summary) -> Doubles:
    """How large each effect is for certain, (units, columns) in scales, at least 0.

    The end of its interval that is nearer to 0, and 0 where the interval holds 0: many small effects of
    which none is certain would otherwise outweigh one that is. An effect that only some images can show,
    because the part is in no others, counts by the root of their share.
    """
    sure = np.minimum(np.abs(summary.lower), np.abs(summary.upper))
    sure = np.where(summary.lower * summary.upper > 0, sure, 0.0)
    size = np.abs(summary.mean)
    share = summary.images / max(int(summary.images.max(initial=1)), 1)
    ratio = np.where(size > 0, sure / np.where(size > 0, size, 1), 0.0)
    found: Doubles = np.nan_to_num(np.abs(summary.standardised) * ratio * np.sqrt(share))
    return found


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
