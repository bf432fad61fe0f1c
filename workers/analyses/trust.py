"""How far a traversal can be trusted: pure functions of what was commanded and what came out.

A traversal moves one unit of the features, follows the linker to w, renders and reads again. Three
things can go wrong, each measured from 0 (wrong) to 1 (right):

follow
    did the re-encoded unit move as commanded?
focus
    did it move more than the other units, each in its own standard deviations?
plausible
    is w still as near as the generator's own w are?
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def follow(commanded: NDArray[np.floating], reencoded: NDArray[np.floating]) -> Doubles:
    """Correlation times slope of re-encoded over commanded values, each clipped to 0..1.

    Args:
        commanded: (..., steps) the values that the unit was set to.
        reencoded: (..., steps) what was read again; broadcasts with `commanded`.

    Returns:
        (...): 1 where every step arrived, 0 where nothing moved or it moved the other way.
    """
    x = commanded - commanded.mean(-1, np.float64, keepdims=True)
    y = reencoded - reencoded.mean(-1, np.float64, keepdims=True)
    covariance, power = (x * y).sum(-1), (x * x).sum(-1)
    scale = np.sqrt(power * (y * y).sum(-1))
    correlation = _ratio(covariance, scale)
    slope = _ratio(covariance, power)
    product: Doubles = np.clip(correlation, 0, 1) * np.clip(slope, 0, 1)
    return product


def focus(
    features: Floats, std: NDArray[np.floating], units: Sequence[NDArray[np.int64]] | NDArray[np.int64]
) -> Floats:
    """Own movement over the largest movement of any unit, from step 0, in standard deviations.

    Args:
        features: (traversals, steps, units) re-encoded.
        std: (units,) of each unit in the fit; units that never varied there are left out.
        units: For each traversal the unit that was moved, or those that were moved together, of which the
            largest movement counts.

    Returns:
        (traversals, steps), 0 to 1; 0 where nothing moved, as at step 0.
    """
    scale = np.where(std > 0, 1 / np.where(std > 0, std, 1), 0).astype(np.float32)
    moved = np.abs(features - features[:, :1]) * scale
    own = np.stack([moved[k][:, np.atleast_1d(unit)].max(1) for k, unit in enumerate(units)])
    return _ratio(own, moved.max(2)).astype(np.float32)


def plausible(distances: NDArray[np.floating], limit: float) -> Doubles:
    """Share of steps whose w is within the limit.

    Args:
        distances: (..., steps) of w from the fit's own w.
        limit: What 99 % of those are within.

    Returns:
        (...), 0 to 1.
    """
    share: Doubles = (distances <= limit).mean(-1, np.float64)
    return share


def trust(
    follow: NDArray[np.floating], focus: NDArray[np.floating], plausible: NDArray[np.floating]
) -> Doubles:
    """The geometric mean of the three: 0 where one of them fails, 1 where none does."""
    product: Doubles = np.cbrt(np.asarray(follow, np.float64) * focus * plausible)
    return product


def _ratio(part: NDArray[np.floating], whole: NDArray[np.floating]) -> Doubles:
    """Part / whole, and 0 where whole is 0."""
    safe = np.where(whole > 0, whole, 1)
    ratio: Doubles = np.where(whole > 0, part / safe, 0).astype(np.float64)
    return ratio
