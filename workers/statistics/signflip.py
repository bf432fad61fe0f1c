"""The sign-flip test: were a unit's effects as likely to have the other sign?

Source: R. A. Fisher, "The Design of Experiments" (1935), section 21; the sums are counted, not sampled, by
the shift algorithm of M. Pagano and D. Tritchler, "On obtaining permutation distributions in polynomial
time", JASA 78 (1983).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 128
"""Levels of the grid for each image: the mean size of the effects spans this many."""
MIN_LEVELS = 4096
"""Least levels for all images together."""
MAX_IMAGES = 1000
"""Above, the counts of the sums would no longer fit into a float64."""

Doubles = NDArray[np.float64]


def sign_flip(effects: NDArray[np.float64]) -> Doubles:
    """Two-sided p (tests,) of the null that each effect is symmetric about 0, independently.

    The sizes are first rounded to a grid that depends on their sum alone. Flipping signs does not move
    the grid, so that the test of the rounded effects is an exact one itself, for any effects and any
    number of images: p <= alpha has a probability of at most alpha. The least possible p is 2^(1 - n) for
    n images whose effect is not 0.

    Args:
        effects: (tests, images); NaN is not measured and left out.

    Returns:
        In (0, 1]; 1 where all effects are 0; NaN where none is measured.

    Raises:
        ValueError: The shape is another, there are more than `MAX_IMAGES`, or an effect is infinite.
    """
    if effects.ndim != 2 or effects.shape[1] > MAX_IMAGES:
        raise ValueError(f"effects are {effects.shape}; (tests, at most {MAX_IMAGES} images) are needed")
    if np.isinf(effects).any():
        raise ValueError("an effect is infinite; only finite effects, or NaN, can be tested")
    levels = _levels(effects)
    sizes = np.sort(np.abs(levels), axis=1)
    extremes = np.abs(levels.sum(1))
    p = np.where(np.isnan(effects).all(1), np.nan, 1.0)
    for test in np.flatnonzero((extremes > 0) & ~np.isnan(p)):
        p[test] = _tail(sizes[test], int(extremes[test]))
    return p


def _levels(effects: Doubles) -> NDArray[np.int64]:
    """The effects in steps of their grid; what is not measured is 0."""
    known = np.where(np.isnan(effects), 0, effects)
    # By the largest first: sums of huge or tiny effects neither overflow nor vanish.
    largest = np.abs(known).max(1, keepdims=True, initial=0)
    share = known / np.where(largest > 0, largest, 1)
    # Summed in order of size, the sum is the same whatever the order of the images.
    total = np.sort(np.abs(share), axis=1).sum(1, keepdims=True)
    grid = max(MIN_LEVELS, GRID * effects.shape[1])
    levels: NDArray[np.int64] = np.rint(share / np.where(total > 0, total, 1) * grid).astype(np.int64)
    return levels


def _tail(sizes: NDArray[np.int64], extreme: int) -> float:
    """The probability that sizes, ascending, with random signs have a sum of at least extreme in size."""
    sizes = sizes[sizes > 0]
    total = int(sizes.sum())
    # How many choices of positive effects sum to each number; they grow with the largest sum so far.
    ways = np.zeros(total + 1)
    ways[0] = 1
    reached = 0
    for size in sizes.tolist():
        ways[size : reached + size + 1] += ways[: reached + 1].copy()
        reached += size
    # With k positive, the sum is 2 k - total; the distribution is symmetric.
    least = (total + extreme + 1) // 2
    return float(min(1.0, 2 * ways[least:].sum() / 2.0 ** len(sizes)))
