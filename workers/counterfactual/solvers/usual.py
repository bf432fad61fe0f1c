"""The least shift in L2 and plausibility together.

    minimise  |d|_2^2 / 2 + weight / 2 d^T P d    subject to   N d >= o,  lower <= d <= upper

In coordinates in which both terms are one, this is the shortest vector between planes (`pivoting`). Of the
bounds only those become planes that are crossed on the way, some hundreds of thousands of units; a plane's
products with the others are computed once, and kept for the next problem of the same row, which differs by a
class or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.metric import Doubles, Metric
from workers.counterfactual.solvers.closest import TOLERANCE, Bounds
from workers.counterfactual.solvers.interior import Programme
from workers.counterfactual.solvers.pivoting import Sides, shortest

_ROUNDS = 100


def _no_sides() -> Sides:
    return np.zeros(0, np.int8)


@dataclass
class Held:
    """What held the last solution back: where the search for the next one starts.

    It may be handed from problem to problem as long as metric and weight stay the same; constraints may
    change, and should keep their order.

    Attributes:
        constraints: (constraints,) sides of the constraints.
        units: (held,) units at a bound.
        bounds: (held,) at which one.
        gram: (held, held) cosines between these bounds, in coordinates in which the cost is a length.
    """

    constraints: Sides = field(default_factory=_no_sides)
    units: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    bounds: Sides = field(default_factory=_no_sides)
    gram: Doubles = field(default_factory=lambda: np.zeros((0, 0)))


def usual_shift(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    metric: Metric,
    weight: float,
    closest: Doubles,
    held: Held | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Doubles:
    """Solves the problem of this module.

    Args:
        normals: (constraints, units), N, of length 1 each (or all zero).
        offsets: (constraints,), o.
        bounds: Of the shift.
        metric: P.
        weight: Its weight, above 0.
        closest: (units,) a shift that is allowed.
        held: What is known from a problem before, and becomes what is known after this one.
        beat: Called between iterations; whatever it raises ends the search.

    Returns:
        The shift (units,); `closest` where constraints are too near to contradiction to do better.
    """
    planes = _Planes(normals, offsets, bounds, metric, weight, held or Held())
    near = TOLERANCE * max(1.0, float(np.abs(offsets).max()))
    for _ in range(_ROUNDS):
        beat()
        found = shortest(planes.gram, *planes.levels(), planes.sides, near, beat)
        if found is None:
            break
        multipliers, planes.sides = found
        shift = planes.shift(multipliers)
        below, above = shift < bounds.lower - near, shift > bounds.upper + near
        sides = below.astype(np.int8) - above.astype(np.int8)
        sides[planes.units] = 0
        crossed = np.flatnonzero(sides)
        if not len(crossed):
            if held is not None:
                planes.keep(held)
            return np.clip(shift, bounds.lower, bounds.upper)
        planes.add(crossed, sides[crossed])
    return _inside(normals, offsets, bounds, metric, weight, closest, beat)


class _Planes:
    """The constraints and some bounds, in coordinates x in which the cost is ``|x|^2 / 2``."""

    def __init__(
        self, normals: Doubles, offsets: Doubles, bounds: Bounds, metric: Metric, weight: float, held: Held
    ) -> None:
        self._offsets, self._bounds = offsets, bounds
        self._vectors, self._shares = metric.vectors, metric.shares(weight)
        self.units = held.units
        given, known = self._unit_rows(normals @ self._vectors), self._unit_rows(self._vectors[held.units])
        self._lengths = np.concatenate([given[1], known[1]])
        self._rows = np.concatenate([given[0], known[0]])
        self.gram = self._extended(held.gram, known[0], given[0], first=True)
        # A constraint that was not known before is there because it was missed.
        sides = np.ones(len(normals), np.int8)
        before = held.constraints[: len(normals)]
        sides[: len(before)] = before
        self.sides = np.concatenate([sides, held.bounds])

    def _unit_rows(self, turned: Doubles) -> tuple[Doubles, Doubles]:
        """Rows (rows, units) in x of length 1, and what they were divided by, of normals in eigenvectors."""
        rows = turned * self._shares
        lengths = np.linalg.norm(rows, axis=1)
        lengths[lengths == 0] = 1
        return rows / lengths[:, None], lengths

    @staticmethod
    def _extended(gram: Doubles, rows: Doubles, new: Doubles, first: bool = False) -> Doubles:
        """The gram matrix of rows with new ones before (first) or after them."""
        across, own = new @ rows.T, new @ new.T
        if first:
            return np.block([[own, across], [across.T, gram]])
        return np.block([[gram, across.T], [across, own]])

    def levels(self) -> tuple[Doubles, Doubles]:
        """Where the lower and the upper planes lie."""
        endless = np.full(len(self._offsets), np.inf)
        lower = np.concatenate([self._offsets, self._bounds.lower[self.units]])
        upper = np.concatenate([endless, self._bounds.upper[self.units]])
        return lower / self._lengths, upper / self._lengths

    def shift(self, multipliers: Doubles) -> Doubles:
        """The shift (units,)."""
        at = np.flatnonzero(multipliers)
        shift: Doubles = self._vectors @ (self._shares * (multipliers[at] @ self._rows[at]))
        return shift

    def add(self, units: NDArray[np.int64], sides: Sides) -> None:
        """Makes planes of the bounds of units."""
        rows, lengths = self._unit_rows(self._vectors[units])
        self.gram = self._extended(self.gram, self._rows, rows)
        self._rows, self._lengths = np.concatenate([self._rows, rows]), np.append(self._lengths, lengths)
        self.units, self.sides = np.append(self.units, units), np.append(self.sides, sides)

    def keep(self, held: Held) -> None:
        """Notes what is touched."""
        count = len(self._offsets)
        at = np.flatnonzero(self.sides[count:])
        held.constraints, held.bounds = self.sides[:count], self.sides[count:][at]
        held.units, held.gram = self.units[at], self.gram[np.ix_(count + at, count + at)]


def _inside(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    metric: Metric,
    weight: float,
    closest: Doubles,
    beat: Callable[[], None],
) -> Doubles:
    """The solution by an interior point method, which takes longer and bears more; else `closest`."""
    length = float(np.linalg.norm(closest))
    moving = bounds.upper - bounds.lower > TOLERANCE * length
    fixed = np.where(moving, 0, bounds.lower)
    quadratic = np.eye(len(closest)) + weight * metric.between(np.arange(len(closest)))
    # In parts of the closest shift's length and cost, so that numbers are of the order of 1.
    scale = length**2 / float(closest @ quadratic @ closest)
    found = Programme(
        scale * quadratic[np.ix_(moving, moving)],
        scale * (quadratic @ fixed)[moving] / length,
        normals[:, moving],
        (offsets - normals @ fixed) / length,
        bounds.lower[moving] / length,
        bounds.upper[moving] / length,
    ).solved(beat)
    if found is None:
        return closest
    shift = fixed
    shift[moving] = length * found[0]
    return np.clip(shift, bounds.lower, bounds.upper)
