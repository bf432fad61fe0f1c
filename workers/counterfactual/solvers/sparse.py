"""The least shift in L1, alone or with plausibility.

    minimise  |d|_1 + weight / 2 d^T P d    subject to   N d >= o,  lower <= d <= upper

A unit that rises and the same unit falling are two *halves* of it, each at least 0. Few halves are above 0 in
the end. So the problem is solved for some of them, and the multipliers of the constraints tell which of the
others would pay; these join, until there is none (column generation). Without plausibility each of these
problems is a linear programme, with it a quadratic one (`interior`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from workers.counterfactual.metric import Doubles, Metric
from workers.counterfactual.solvers.closest import Bounds, closest_shift
from workers.counterfactual.solvers.interior import Programme

Solve = Callable[[NDArray[np.int64]], tuple[Doubles, Doubles] | None]

_AT_ONCE = 64
"""Halves that the search starts with, and that join at a time."""
_PAYS = 1e-7
"""A half joins where each unit of length would save more than this."""
_NOTHING = 1e-6
"""Share of the largest entry of a shift below which there is none."""


def sparse_shift(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    closest: Doubles | None,
    metric: Metric | None = None,
    weight: float = 0.0,
    beat: Callable[[], None] = lambda: None,
) -> Doubles | None:
    """Solves the problem of this module.

    Args:
        normals: (constraints, units), N, of length 1 each (or all zero).
        offsets: (constraints,), o.
        bounds: Of the shift.
        closest: (units,) the shortest shift, whose large entries are tried first; None where not known.
        metric: P; needed with weight.
        weight: Its weight, 0 or more.
        beat: Called between iterations; whatever it raises ends the search.

    Returns:
        The shift (units,), or None where the constraints exclude each other. Without plausibility it is
        returned where constraints are too near to contradiction to do better.
    """
    halves = _Halves(normals, offsets, bounds)

    def plain() -> Doubles | None:
        order = halves.order(np.zeros(normals.shape[1]) if closest is None else closest)
        size = len(order) if closest is None else _AT_ONCE
        return halves.grown(order, size, halves.linear, np.zeros_like, beat)

    def slope(shift: Doubles) -> Doubles:
        return weight * metric.slope(shift) if metric is not None else np.zeros_like(shift)

    guess = plain() if closest is None else closest
    if metric is None or weight <= 0 or guess is None:
        return guess if closest is None else plain()
    found = halves.grown(halves.order(guess), _AT_ONCE, halves.quadratic(metric, weight, beat), slope, beat)
    if found is not None:
        found[np.abs(found) <= _NOTHING * np.abs(found).max()] = 0
        found = _repaired(normals, offsets, bounds, found, beat)
    return plain() if found is None else found


class _Halves:
    """The halves of all units: those that rise, then those that fall; by number, a half's place in both."""

    def __init__(self, normals: Doubles, offsets: Doubles, bounds: Bounds) -> None:
        self._units = normals.shape[1]
        self._normals, self._offsets = normals, offsets
        self._least = np.maximum(np.concatenate([bounds.lower, -bounds.upper]), 0)
        self._most = np.maximum(np.concatenate([bounds.upper, -bounds.lower]), 0)
        self.able = np.flatnonzero(self._most > 0)

    def order(self, shift: Doubles) -> NDArray[np.int64]:
        """The halves that can move, those that must first, then by how far a shift (units,) takes them."""
        worth = np.concatenate([shift, -shift])
        worth[self._least > 0] = np.inf
        order: NDArray[np.int64] = self.able[np.argsort(-worth[self.able], kind="stable")]
        return order

    def _signed(self, some: NDArray[np.int64]) -> tuple[NDArray[np.int64], Doubles]:
        """Units and signs (some,) of halves."""
        return some % self._units, np.where(some < self._units, 1.0, -1.0)

    def grown(
        self,
        order: NDArray[np.int64],
        size: int,
        solve: Solve,
        slope: Callable[[Doubles], Doubles],
        beat: Callable[[], None],
    ) -> Doubles | None:
        """The least shift (units,); None where no problem can be solved, not even that of all halves.

        Args:
            order: Halves, the most promising ones first.
            size: How many to start with, beside those that must move.
            solve: Gives the values of some halves, and multipliers of the constraints.
            slope: The gradient (units,) of what is minimised beside L1.
            beat: Called between problems.
        """
        inside = self._least > 0
        inside[order[:size]] = True
        while True:
            beat()
            some = np.flatnonzero(inside)
            found = solve(some)
            if found is None:
                if len(some) >= len(order):
                    return None
                size = 2 * max(size, len(some))
                inside[order[:size]] = True
                continue
            values, multipliers = found
            shift, (units, signs) = np.zeros(self._units), self._signed(some)
            np.add.at(shift, units, signs * values)
            pull = multipliers @ self._normals - slope(shift)
            saved = np.concatenate([pull, -pull]) - 1
            pays = self.able[(saved[self.able] > _PAYS) & ~inside[self.able]]
            if not len(pays):
                return shift
            inside[pays[np.argsort(-saved[pays], kind="stable")[:_AT_ONCE]]] = True

    def linear(self, some: NDArray[np.int64]) -> tuple[Doubles, Doubles] | None:
        """Without plausibility."""
        units, signs = self._signed(some)
        found = linprog(
            np.ones(len(some)),
            A_ub=-self._normals[:, units] * signs,
            b_ub=-self._offsets,
            bounds=np.stack([self._least[some], self._most[some]], axis=1),
            method="highs",
        )
        return None if found.x is None else (found.x, -found.ineqlin.marginals)

    def quadratic(self, metric: Metric, weight: float, beat: Callable[[], None]) -> Solve:
        """With plausibility."""
        # In parts of the distance of the furthest boundary, so that numbers are of the order of 1.
        scale = float(np.abs(self._offsets).max()) or 1.0

        def solve(some: NDArray[np.int64]) -> tuple[Doubles, Doubles] | None:
            units, signs = self._signed(some)
            found = Programme(
                scale * weight * metric.between(units) * signs * signs[:, None],
                np.ones(len(some)),
                self._normals[:, units] * signs,
                self._offsets / scale,
                self._least[some] / scale,
                self._most[some] / scale,
            ).solved(beat)
            return None if found is None else (scale * found[0], found[1])

        return solve


def _repaired(
    normals: Doubles, offsets: Doubles, bounds: Bounds, shift: Doubles, beat: Callable[[], None]
) -> Doubles | None:
    """The nearest shift that satisfies the constraints, of the same units where that is possible."""
    lack = offsets - normals @ shift
    for moving in (shift != 0, np.ones_like(shift, np.bool_)):
        room = Bounds(np.where(moving, bounds.lower - shift, 0), np.where(moving, bounds.upper - shift, 0))
        change = closest_shift(normals, lack, room, beat)
        if change is not None:
            return np.clip(shift + change, bounds.lower, bounds.upper)
    return None
