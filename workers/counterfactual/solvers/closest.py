"""The shortest shift within bounds that satisfies linear constraints.

    minimise  |d|_2^2 / 2    subject to   N d >= o,  lower <= d <= upper

Solved through its dual, which has one variable a constraint and is piecewise quadratic (projected Newton,
Bertsekas 1982).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, minimize

from workers.counterfactual.metric import Doubles

TOLERANCE = 1e-9
"""By how much constraints of unit length may be missed, relative to the largest offset above 1."""
_ROUNDS = 100
_MISSED = 1e-5
"""By how much they may be missed where they are too near to contradiction for more, likewise."""
_UNBOUNDED = 1e15
"""A dual beyond this grows without end: nothing is feasible."""


@dataclass(frozen=True)
class Bounds:
    """What a shift may be: (units,) each."""

    lower: Doubles
    upper: Doubles


def closest_shift(
    normals: Doubles, offsets: Doubles, bounds: Bounds, beat: Callable[[], None] = lambda: None
) -> Doubles | None:
    """Solves the problem of this module. The shift is ``clip(N^T y)`` of the dual y >= 0.

    Args:
        normals: (constraints, units), N, of length 1 each (or all zero).
        offsets: (constraints,), o.
        bounds: Of the shift.
        beat: Called between iterations; whatever it raises ends the search.

    Returns:
        The shift (units,), or None where the constraints exclude each other.
    """
    dual = np.zeros(len(offsets))
    goal = TOLERANCE * max(1.0, float(np.abs(offsets).max()))
    for _ in range(_ROUNDS):
        beat()
        pull = dual @ normals
        shift = np.clip(pull, bounds.lower, bounds.upper)
        lack = offsets - normals @ shift
        if np.where(dual > 0, np.abs(lack), lack).max() <= goal:
            return shift
        free = (pull > bounds.lower) & (pull < bounds.upper)
        on = (dual > 0) | (lack > 0)
        part = normals[np.ix_(on, free)]
        step = np.zeros_like(dual)
        step[on] = np.linalg.solve(part @ part.T + 1e-10 * np.eye(int(on.sum())), lack[on])
        moved = _ascended(dual, step, lack, normals, offsets, bounds)
        if moved is None or moved.max() > _UNBOUNDED:
            break
        dual = moved
    return None if _exclude(normals, offsets, bounds) else _slowly(normals, offsets, bounds, dual, beat)


def _exclude(normals: Doubles, offsets: Doubles, bounds: Bounds) -> bool:
    """Whether the constraints exclude each other, even when they may be missed by what `_slowly` may."""
    found = linprog(
        np.zeros(normals.shape[1]),
        A_ub=-normals,
        b_ub=_MISSED * max(1.0, float(np.abs(offsets).max())) - offsets,
        bounds=np.stack([bounds.lower, bounds.upper], axis=1),
        method="highs",
    )
    return found.x is None


def _ascended(
    dual: Doubles, step: Doubles, slope: Doubles, normals: Doubles, offsets: Doubles, bounds: Bounds
) -> Doubles | None:
    """The dual after a step that is halved until it pays (Armijo); None where none does."""
    start = _dual_value(dual, normals, offsets, bounds)
    length = 1.0
    while length > 1e-12:
        moved: Doubles = np.maximum(dual + length * step, 0)
        if _dual_value(moved, normals, offsets, bounds) > start + 1e-4 * float(slope @ (moved - dual)):
            return moved
        length /= 2
    return None


def _dual_value(dual: Doubles, normals: Doubles, offsets: Doubles, bounds: Bounds) -> float:
    """The dual's objective, whose gradient is ``o - N d``."""
    pull = dual @ normals
    shift = np.clip(pull, bounds.lower, bounds.upper)
    return float(offsets @ dual + (shift**2 / 2 - pull * shift).sum())


def _slowly(
    normals: Doubles, offsets: Doubles, bounds: Bounds, dual: Doubles, beat: Callable[[], None]
) -> Doubles | None:
    """By a quasi-Newton method, from where Newton's stopped; None where it is not feasible."""

    def value(y: Doubles) -> tuple[float, Doubles]:
        beat()
        shift = np.clip(y @ normals, bounds.lower, bounds.upper)
        return -_dual_value(y, normals, offsets, bounds), normals @ shift - offsets

    found = minimize(
        value, np.minimum(dual, 1e6), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(dual)
    )
    shift: Doubles = np.clip(found.x @ normals, bounds.lower, bounds.upper)
    lack = float((offsets - normals @ shift).max())
    return shift if lack <= _MISSED * max(1.0, float(np.abs(offsets).max())) else None
