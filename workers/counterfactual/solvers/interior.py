"""Convex quadratic programmes by an interior point method (predictor and corrector, Mehrotra 1992).

minimise  z^T Q z / 2 + c^T z    subject to   A z >= b,  lower <= z <= upper
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from workers.counterfactual.metric import Doubles

_MISSED, _UNBALANCED, _GAP = 1e-9, 1e-7, 1e-10
"""What may be left of a constraint; of the gradient, relative to its parts; and between the objective and its
bound from below, relative to itself."""
_INWARD = 0.1
"""How far inside all constraints the search starts, divided by the root of the number of variables."""
_SHORT_OF = 0.995
"""Share of the way to where the first constraint is met that a step goes at most."""
_ENDLESS = 1e9
"""A multiplier beyond this grows without end: constraints exclude each other."""
_ROUNDS = 60


@dataclass(frozen=True)
class Programme:
    """The problem of this module; sizes and offsets should be of the order of 1.

    Attributes:
        quadratic: (variables, variables), Q, with no negative eigenvalue.
        cost: (variables,), c.
        normals: (constraints, variables), A.
        offsets: (constraints,), b.
        lower: (variables,), -inf for none.
        upper: (variables,), inf for none, everywhere above lower.
    """

    quadratic: Doubles
    cost: Doubles
    normals: Doubles
    offsets: Doubles
    lower: Doubles
    upper: Doubles

    def solved(self, beat: Callable[[], None] = lambda: None) -> tuple[Doubles, Doubles] | None:
        """Solves it.

        Args:
            beat: Called between iterations; whatever it raises ends the search.

        Returns:
            z (variables,) and the multipliers (constraints,) of A; None where it does not end, as where
            constraints exclude each other.
        """
        rows = _Rows(self)
        inward = _INWARD / np.sqrt(len(self.cost))
        z = np.clip(
            np.maximum(np.minimum(0.0, self.upper - inward), self.lower + inward), self.lower, self.upper
        )
        slack = np.maximum(rows.values(z) - rows.levels, inward)
        duals = np.ones(len(rows.levels))
        for _ in range(_ROUNDS):
            beat()
            pushed, pulled = self.quadratic @ z, rows.pulls(duals)
            gradient, missed = pushed + self.cost - pulled, rows.values(z) - slack - rows.levels
            steep = 1 + max(np.abs(pushed).max(), np.abs(pulled).max())
            worth = 1 + abs(float(z @ (pushed / 2 + self.cost)))
            left = np.abs(gradient).max() / (_UNBALANCED * steep), np.abs(missed).max() / _MISSED
            if max(*left, float(slack @ duals) / (_GAP * worth)) <= 1:
                return z, duals[: len(self.offsets)]
            if duals.max() > _ENDLESS:
                return None
            try:
                steps = _steps(self.quadratic, rows, gradient, missed, slack, duals)
            except LinAlgError:
                return None
            length = _SHORT_OF * min(_room(slack, steps[1]), _room(duals, steps[2]))
            z, slack, duals = (
                old + min(length, 1.0) * step for old, step in zip((z, slack, duals), steps, strict=True)
            )
        return None


class _Rows:
    """All constraints of a programme as rows: those of A, then lower bounds, then upper ones."""

    def __init__(self, programme: Programme) -> None:
        self._normals = programme.normals
        self._low = np.flatnonzero(np.isfinite(programme.lower))
        self._high = np.flatnonzero(np.isfinite(programme.upper))
        bounds = programme.lower[self._low], -programme.upper[self._high]
        self.levels = np.concatenate([programme.offsets, *bounds])

    def values(self, z: Doubles) -> Doubles:
        """What rows give for z, to be at least their levels."""
        return np.concatenate([self._normals @ z, z[self._low], -z[self._high]])

    def _parts(self, weights: Doubles) -> list[Doubles]:
        return np.split(weights, np.cumsum([len(self._normals), len(self._low)]))

    def pulls(self, weights: Doubles) -> Doubles:
        """The sum (variables,) of the rows, weighted."""
        given, low, high = self._parts(weights)
        pulls: Doubles = given @ self._normals
        pulls[self._low] += low
        pulls[self._high] -= high
        return pulls

    def squares(self, weights: Doubles) -> Doubles:
        """The sum (variables, variables) of the rows' squares, weighted."""
        given, low, high = self._parts(weights)
        squares: Doubles = (self._normals.T * given) @ self._normals
        squares[self._low, self._low] += low
        squares[self._high, self._high] += high
        return squares


def _steps(
    quadratic: Doubles, rows: _Rows, gradient: Doubles, missed: Doubles, slack: Doubles, duals: Doubles
) -> tuple[Doubles, Doubles, Doubles]:
    """The step of z, slack and duals: foretold for the end, then corrected by what that would miss."""
    factor = cho_factor(quadratic + rows.squares(duals / slack), check_finite=False)

    def steps(products: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        side = rows.pulls((products - duals * missed) / slack) - gradient
        moved = cho_solve(factor, side, check_finite=False)
        loosened = rows.values(moved) + missed
        return moved, loosened, (products - duals * loosened) / slack

    _, loosened, pulled = steps(-slack * duals)
    length = min(_room(slack, loosened), _room(duals, pulled), 1.0)
    now, then = slack @ duals, (slack + length * loosened) @ (duals + length * pulled)
    centre = (then / now) ** 3 * now / len(slack)
    return steps(centre - slack * duals - loosened * pulled)


def _room(values: Doubles, steps: Doubles) -> float:
    """How many steps values, all above 0, can take before the first is 0."""
    falling = steps < 0
    return float((-values[falling] / steps[falling]).min()) if falling.any() else np.inf
