"""The sign-flip test: is an effect as often negative as positive?

If a unit does nothing, the sign of its effect in an image is that of a coin. Under this hypothesis the sum of
the effects is distributed as the sum of +-|effect| over all 2^n assignments of signs, whatever the sizes are.
The distribution is found exactly, not by drawing: sizes are rounded to a grid in proportion to their own sum.
The grid does not depend on the signs, so that the test on the rounded effects is itself an exact test.

Source: Fisher, "The Design of Experiments" (1935), section 21; counting by dynamic programming as Pagano and
Tritchler, "On Obtaining Permutation Distributions in Polynomial Time" (1983).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 512
"""Steps that the sum of all sizes is divided into, at least."""
PER_IMAGE = 12
"""And at least so many for each image."""
BLOCK = 1 << 21
"""Probabilities that are held at once."""

Array = NDArray[np.float64]


def sign_flip(effects: Array) -> Array:
    """Two-sided p of each row; the smallest possible is 2^(1 - n) for n values.

    Args:
        effects: (tests, images); NaN where there is no value.

    Returns:
        (tests,) in (0, 1]; 1 where all values are 0, or there is none.
    """
    values = np.where(np.isfinite(effects), effects, 0.0)
    sizes = np.abs(values)
    total = sizes.sum(1, keepdims=True)
    grid = max(GRID, PER_IMAGE * effects.shape[1])
    steps = np.rint(sizes * (grid / np.where(total > 0, total, 1))).astype(np.int64)
    p = np.ones(len(values))
    width = int(steps.sum(1).max(initial=0)) + 1
    rows = max(1, BLOCK // width)
    for first in range(0, len(values), rows):
        part = slice(first, first + rows)
        p[part] = _exact(steps[part], np.sign(values[part]).astype(np.int64), width)
    return p


def _exact(steps: NDArray[np.int64], signs: NDArray[np.int64], width: int) -> Array:
    """P of rows of steps (tests, images) with signs: how likely a sum at least as far from 0 is.

    The sum of signed steps is the whole less twice the sum of those that are negative: the distribution of
    the latter is that of a sum over a random subset.
    """
    tests = len(steps)
    chance = np.zeros((tests, width))
    chance[:, 0] = 1.0
    places = np.arange(width)
    for image in range(steps.shape[1]):
        shift = steps[:, image, None]
        source = places - shift
        moved = np.take_along_axis(chance, np.maximum(source, 0), axis=1)
        chance = 0.5 * (chance + np.where(source >= 0, moved, 0.0))
    whole = steps.sum(1)
    reached = np.abs((steps * signs).sum(1))
    far = np.abs(whole[:, None] - 2 * places) >= reached[:, None]
    inside = places <= whole[:, None]
    # The smallest chance, 2^(1 - n), is a sum of two exact terms: nothing is lost to rounding there.
    return np.minimum((chance * (far & inside)).sum(1), 1.0)
