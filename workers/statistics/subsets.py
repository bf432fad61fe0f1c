"""A few of many things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spaced(count: int, most: int) -> NDArray[np.int64]:
    """Indices of at most so many of `count` things, at even distances; all where they are no more."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
