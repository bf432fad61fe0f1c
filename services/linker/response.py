"""What a unit can be expected to show of a command, from the fit's own statistics.

Moving unit i by one moves w by ``A[:, i]``; what the picture of that w is read as is estimated by the
regression of r on w over the same pairs, ``r = B w + c``. So ``(B A)[j, i]`` is how far unit j is
expected to move when unit i is told to move by one. Features of a wide layer have far fewer degrees of
freedom than units, and most units told to move alone are hardly seen to; this finds those that are.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from services.linker.mapping import Affine
from services.linker.moments import Moments

Array = NDArray[np.float64]

SHRINKAGE = 1e-4
"""Of the covariance of w towards a multiple of the identity, for w that live in a subspace."""

_BLOCK = 512


def expected_response(moments: Moments, affine: Affine) -> tuple[Array, Array]:
    """How each unit is expected to answer a command.

    Args:
        moments: Of the pairs that the map was fitted to.
        affine: The map.

    Returns:
        The slope (d,) of the unit's re-encoded value on its commanded one, 1 where it does as told; and
        its focus (d,), 0 to 1: its own movement over the largest movement of any unit, each in
        standard deviations. Both are 0 for units that never vary.
    """
    d = moments.features
    upper = moments.scatter[d:, d:]
    scatter = np.triu(upper) + np.triu(upper, 1).T
    scatter += SHRINKAGE * (np.trace(scatter) / len(scatter) + np.finfo(float).tiny) * np.eye(len(scatter))
    back = scipy.linalg.solve(scatter, moments.cross.T, assume_a="pos")  # (m, d): the transpose of B
    deviation = np.sqrt(moments.feature_variance)
    varies = deviation > 1e-6 * max(float(deviation.max()), np.finfo(float).tiny)
    scale = np.divide(1.0, deviation, out=np.zeros(d), where=varies)
    slope, focus = np.zeros(d), np.zeros(d)
    for start in range(0, d, _BLOCK):
        part = np.arange(start, min(start + _BLOCK, d))
        moved = back.T @ affine.weight[:, part]
        own = moved[part, np.arange(len(part))]
        largest = np.abs(moved * scale[:, None]).max(axis=0)
        slope[part] = np.where(varies[part], own, 0.0)
        focus[part] = np.divide(
            np.abs(own) * scale[part], largest, out=np.zeros(len(part)), where=largest > 0
        )
    return slope, focus
