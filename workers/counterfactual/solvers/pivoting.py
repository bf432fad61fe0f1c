"""The shortest vector between pairs of parallel planes, found by exchanging which planes hold it back.

The problem, with the unit normals of the pairs as rows of S::

    minimise  |x|^2 / 2    subject to   lower <= S x <= upper

The shortest x is ``S^T y``, where y_i is above 0 only where x touches the lower plane, and below 0 only where
it touches the upper one. Given which planes are touched, y solves a linear system in ``S S^T`` alone. Planes
whose multipliers have the wrong sign and planes that are crossed are exchanged, all of them, or one at a time
where that goes round in circles (block principal pivoting, Judice and Pires 1994; Murty 1974).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from workers.counterfactual.metric import Doubles

Sides = NDArray[np.int8]
"""What is touched: 1 the lower plane of a pair, -1 the upper one, 0 neither."""

_RIDGE = 1e-10
"""What is added to the diagonal, which is 1, since normals may be parallel."""
_REFINEMENTS = 2
_PATIENCE = 4
"""So often all wrong planes are exchanged at once though no fewer are wrong than ever before."""
_MISSED = 1e-6
"""What is touched but for more than this cannot be touched: planes exclude each other."""
_ROUNDS = 300


def shortest(
    gram: Doubles,
    lower: Doubles,
    upper: Doubles,
    sides: Sides,
    near: float,
    beat: Callable[[], None] = lambda: None,
) -> tuple[Doubles, Sides] | None:
    """Solves the problem of this module.

    Args:
        gram: (pairs, pairs), ``S S^T``, with ones on its diagonal.
        lower: (pairs,), -inf for none.
        upper: (pairs,), inf for none, nowhere below lower.
        sides: (pairs,) a guess of what is touched.
        near: By how much planes may be crossed.
        beat: Called between exchanges; whatever it raises ends the search.

    Returns:
        The multipliers y (pairs,) and what is touched (pairs,); None where it does not end, as where planes
        exclude each other.
    """
    sides, multipliers = sides.copy(), np.zeros(len(gram))
    fewest, patience = len(gram) + 1, _PATIENCE
    for _ in range(_ROUNDS):
        beat()
        held = np.flatnonzero(sides)
        found = _solved(gram[np.ix_(held, held)], np.where(sides > 0, lower, upper)[held])
        if found is None:
            return None
        multipliers[:] = 0
        multipliers[held] = found
        values, free = gram[:, held] @ found, sides == 0
        below, above = free & (values < lower - near), free & (values > upper + near)
        wrong = np.flatnonzero((multipliers * sides < 0) & (lower < upper) | below | above)
        if not len(wrong):
            missed = np.abs(values - np.where(sides > 0, lower, upper))[held]
            return (multipliers, sides) if (missed <= _MISSED + near).all() else None
        if len(wrong) < fewest:
            fewest, patience = len(wrong), _PATIENCE
        elif patience > 0:
            patience -= 1
        else:
            wrong = wrong[-1:]
        sides[wrong] = below.astype(np.int8)[wrong] - above.astype(np.int8)[wrong]
    return None


def _solved(matrix: Doubles, levels: Doubles) -> Doubles | None:
    """The solution of a symmetric system, which may be singular, by refinement; None where there is none."""
    if not len(levels):
        return levels
    try:
        factor = cho_factor(matrix + _RIDGE * np.eye(len(matrix)), lower=True, check_finite=False)
    except LinAlgError:
        return None
    solution = cho_solve(factor, levels, check_finite=False)
    for _ in range(_REFINEMENTS):
        solution = solution + cho_solve(factor, levels - matrix @ solution, check_finite=False)
    return solution if np.isfinite(solution).all() else None
