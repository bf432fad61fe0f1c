"""Minimises many functions side by side, one a row, each call serving all rows that still run.

L-BFGS (Nocedal 1980; Nocedal and Wright 2006, algorithm 7.4) with a line search that only shortens: a step is
tried, and where it does not pay (Armijo) a shorter one is, with other rows' steps, in the next call. So every
row keeps a point that is never worse than the one before, and gradients are asked for at such points only.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from workers.counterfactual.models import Doubles, Rows

_MEMORY = 12
"""Pairs of steps and changes of the gradient that tell the curvature."""
_ARMIJO = 1e-4
_SHORTER = 0.3
"""A step that does not pay is shortened to this share."""
_FAILURES = 4
"""Steps in turn that do not pay, after which the curvature is forgotten, and then the row is done."""
_FLAT = 1e-10
"""Pairs are left out whose curvature, relative to their lengths, is below it."""


class Seen(Protocol):
    """What was found out about points, row by row, on the way to their values."""

    def at(self, chosen: NDArray[np.bool_]) -> Self:
        """That of some rows."""
        ...


S = TypeVar("S", bound=Seen)


class Objective(Protocol[S]):
    """Functions of points, one a row."""

    def value(self, rows: Rows, points: Doubles) -> tuple[Doubles, S]:
        """Values (len(rows),) at points (len(rows), dimensions), and what gradients there need."""
        ...

    def gradient(self, rows: Rows, points: Doubles, seen: S) -> Doubles:
        """Gradients (len(rows), dimensions) at points that were seen."""
        ...


@dataclass(frozen=True)
class Effort:
    """How long is searched.

    Attributes:
        steps: The most points that are tried for a row.
        first_step: Length of the first step.
        gain: A row is done whose value fell by less than this share ...
        patience: ... in so many steps that paid.
    """

    steps: int = 60
    first_step: float = 1.0
    gain: float = 0.01
    patience: int = 6


@dataclass(frozen=True)
class Minimum:
    """Where the rows ended.

    Attributes:
        points: (rows, dimensions), the best that were seen.
        first: (rows,) values at the start.
        values: (rows,) values at the points.
        tried: (rows,) points that were tried, beside the start.
        gradients: (rows,) gradients that were asked for.
    """

    points: Doubles
    first: Doubles
    values: Doubles
    tried: Rows
    gradients: Rows


@dataclass
class _Row:
    """One row on its way."""

    point: Doubles
    value: float
    slope: Doubles
    first_step: float
    pairs: deque[tuple[Doubles, Doubles]] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    trail: list[float] = field(default_factory=list)
    step: Doubles = field(default_factory=lambda: np.zeros(0))
    failures: int = 0
    over: bool = False

    def turn(self) -> None:
        """Sets out from the present point."""
        steepness = float(np.linalg.norm(self.slope))
        self.over |= not 0 < steepness < np.inf
        if self.over:
            return
        self.step = -_times_inverse(self.pairs, self.slope)
        if not self.pairs or self.step @ self.slope >= 0:
            self.pairs.clear()
            self.step = -self.first_step / steepness * self.slope

    def pays(self, value: float) -> bool:
        """Whether the step leads far enough down; NaN does not."""
        return bool(value <= self.value + _ARMIJO * float(self.step @ self.slope))

    def fail(self) -> None:
        """Shortens the step; gives up where even the steepest way down leads nowhere."""
        self.failures += 1
        self.step = _SHORTER * self.step
        if self.failures >= _FAILURES:
            self.over |= not self.pairs
            self.pairs.clear()
            self.failures = 0
            self.turn()

    def move(self, value: float, slope: Doubles, effort: Effort) -> None:
        """Takes the step."""
        change = slope - self.slope
        if self.step @ change > _FLAT * np.linalg.norm(self.step) * np.linalg.norm(change):
            self.pairs.append((self.step, change))
        self.trail.append(self.value)
        self.point, self.value, self.slope = self.point + self.step, value, slope
        self.failures = 0
        before = self.trail[-effort.patience] if len(self.trail) >= effort.patience else np.inf
        self.over |= self.value > (1 - effort.gain) * before
        self.turn()


def minimise(objective: Objective[S], start: Doubles, effort: Effort) -> Minimum:
    """Minimises all rows.

    Args:
        objective: What is minimised; asked for values once a step, and for gradients where they paid.
        start: (rows, dimensions).
        effort: When to end.

    Raises:
        Exception: Whatever the objective raised.
    """
    everything = np.arange(len(start))
    first, seen = objective.value(everything, start)
    slopes = objective.gradient(everything, start, seen)
    rows = [
        _Row(point, float(value), slope, effort.first_step)
        for point, value, slope in zip(start, first, slopes, strict=True)
    ]
    for row in rows:
        row.turn()
    tried, gradients = np.zeros(len(rows), np.int64), np.ones(len(rows), np.int64)
    for _ in range(effort.steps):
        running = np.array([k for k, row in enumerate(rows) if not row.over], np.int64)
        if not len(running):
            break
        points = np.stack([rows[k].point + rows[k].step for k in running])
        values, seen = objective.value(running, points)
        tried[running] += 1
        paid = np.array([rows[k].pays(float(value)) for k, value in zip(running, values, strict=True)])
        for k in running[~paid]:
            rows[k].fail()
        if not paid.any():
            continue
        moved = running[paid]
        slopes = objective.gradient(moved, points[paid], seen.at(paid))
        gradients[moved] += 1
        for k, value, slope in zip(moved, values[paid], slopes, strict=True):
            rows[k].move(float(value), slope, effort)
    found = np.stack([row.point for row in rows]), first, np.array([row.value for row in rows])
    return Minimum(*found, tried, gradients)


def _times_inverse(pairs: deque[tuple[Doubles, Doubles]], slope: Doubles) -> Doubles:
    """The inverse Hessian that the pairs tell of, times the slope (the two loops of L-BFGS)."""
    product, shares = slope.copy(), []
    for step, change in reversed(pairs):
        shares.append(float(step @ product) / float(step @ change))
        product -= shares[-1] * change
    if pairs:
        step, change = pairs[-1]
        product *= float(step @ change) / float(change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        product += (share - float(change @ product) / float(step @ change)) * step
    return product
