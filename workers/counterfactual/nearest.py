"""The smallest shift of one row's features that satisfies linear constraints.

The problem, with d the shift and N d >= o what lies beyond a boundary (or its tangents)::

    minimise  size(d) + plausibility / 2 d^T P d    subject to   N d >= o,  lower <= d <= upper

where size is ``|d|_1`` or ``|d|_2^2 / 2`` and ``d^T P d`` says how unusual the shift is (`metric`). Without
plausibility both are solved exactly: L1 as a linear programme, L2 through its dual, which has one variable a
constraint and is piecewise quadratic (projected Newton, Bertsekas 1982). With it, L2 is solved by the same
method in coordinates in which both terms are one, where bounds become constraints as they are met; for L1 the
alternating direction method of multipliers (Boyd et al. 2011) splits the quadratic from size and bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linprog, minimize

from workers.counterfactual.metric import Metric
from workers.counterfactual.models import Doubles

Norm = Literal["l2", "l1"]
_TOLERANCE = 1e-9
_ROUNDS = 100
_SPLIT = 1e-6
"""How near, relative to a shift, the parts of a split problem must be to each other."""
_BALANCED = 20
"""Steps after which the rate of a split problem is looked at."""
_UNBOUNDED = 1e15
"""A dual beyond this grows without end: nothing is feasible."""


@dataclass(frozen=True)
class Bounds:
    """What a shift may be: (units,) each."""

    lower: Doubles
    upper: Doubles


def smallest_shift(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    norm: Norm = "l2",
    metric: Metric | None = None,
    plausibility: float = 0.0,
) -> Doubles | None:
    """Solves the problem of this module.

    Args:
        normals: (constraints, units), N.
        offsets: (constraints,), o.
        bounds: Of the shift.
        norm: Which size is meant.
        metric: P; needed with plausibility.
        plausibility: Weight of ``d^T P d``, 0 or more.

    Returns:
        The shift (units,), or None where the constraints exclude each other.
    """
    scale = np.linalg.norm(normals, axis=1)
    if (offsets[scale == 0] > 0).any():
        return None
    unit, level = normals[scale > 0] / scale[scale > 0, None], offsets[scale > 0] / scale[scale > 0]
    if not len(unit):
        unit, level = np.zeros((1, normals.shape[1])), np.zeros(1)
    closest = _closest(unit, level, bounds) if norm == "l2" or plausibility > 0 else None
    if metric is not None and plausibility > 0 and closest is not None:
        found = _usual(unit, level, bounds, metric, plausibility) if norm == "l2" else None
        return _split(unit, level, bounds, norm, metric, plausibility, closest) if found is None else found
    return _sparse(unit, level, bounds) if norm == "l1" and plausibility <= 0 else closest


def _sparse(normals: Doubles, offsets: Doubles, bounds: Bounds) -> Doubles | None:
    """Least L1 as a linear programme over the positive and the negative part of the shift."""
    units = normals.shape[1]
    least = np.maximum(np.concatenate([bounds.lower, -bounds.upper]), 0)
    most = np.maximum(np.concatenate([bounds.upper, -bounds.lower]), 0)
    found = linprog(
        np.ones(2 * units),
        A_ub=np.hstack([-normals, normals]),
        b_ub=-offsets,
        bounds=np.stack([least, most], axis=1),
        method="highs",
    )
    if found.x is None:
        return None
    shift: Doubles = found.x[:units] - found.x[units:]
    return shift


def _closest(normals: Doubles, offsets: Doubles, bounds: Bounds) -> Doubles | None:
    """Least L2. The shift is ``clip(N^T y)`` of the dual y >= 0, whose gradient is ``o - N d``."""
    dual = np.zeros(len(offsets))
    goal = _TOLERANCE * max(1.0, float(np.abs(offsets).max()))
    for _ in range(_ROUNDS):
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
    return _closest_slowly(normals, offsets, bounds, dual)


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
    pull = dual @ normals
    shift = np.clip(pull, bounds.lower, bounds.upper)
    return float(offsets @ dual + (shift**2 / 2 - pull * shift).sum())


def _closest_slowly(normals: Doubles, offsets: Doubles, bounds: Bounds, dual: Doubles) -> Doubles | None:
    """`_closest` by a quasi-Newton method, from where Newton's stopped; None where it is not feasible."""

    def value(y: Doubles) -> tuple[float, Doubles]:
        shift = np.clip(y @ normals, bounds.lower, bounds.upper)
        return -_dual_value(y, normals, offsets, bounds), normals @ shift - offsets

    found = minimize(
        value, np.minimum(dual, 1e6), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(dual)
    )
    shift: Doubles = np.clip(found.x @ normals, bounds.lower, bounds.upper)
    lack = float((offsets - normals @ shift).max())
    return shift if lack <= 1e-5 * max(1.0, float(np.abs(offsets).max())) else None


def _usual(
    normals: Doubles, offsets: Doubles, bounds: Bounds, metric: Metric, weight: float
) -> Doubles | None:
    """Least L2 with plausibility; None where the numbers are too near to contradiction."""
    root = metric.root(weight)
    endless = np.full(len(root), np.inf)
    low, high = (np.zeros(len(root), np.bool_) for _ in range(2))
    near = _TOLERANCE * max(1.0, float(np.abs(offsets).max()))
    for _ in range(_ROUNDS):
        stacked = np.vstack([normals @ root, root[low], -root[high]])
        levels = np.concatenate([offsets, bounds.lower[low], -bounds.upper[high]])
        lengths = np.linalg.norm(stacked, axis=1)
        found = _closest(stacked / lengths[:, None], levels / lengths, Bounds(-endless, endless))
        if found is None:
            return None
        shift = root @ found
        below, above = shift < bounds.lower - near, shift > bounds.upper + near
        if not (below & ~low).any() and not (above & ~high).any():
            return np.clip(shift, bounds.lower, bounds.upper)
        low, high = low | below, high | above
    return None


def _split(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    norm: Norm,
    metric: Metric,
    weight: float,
    first: Doubles,
) -> Doubles | None:
    """The split problem, from a shift that is allowed; the little that is missing is added in the end."""
    rate = np.sqrt(1 + weight * float(np.median(metric.values)))
    size, slack = first, np.maximum(normals @ first, offsets)
    size_dual, slack_dual = np.zeros_like(size), np.zeros_like(slack)
    scale = max(float(np.linalg.norm(first)), 1e-9)
    solve = _Quadratic(normals, metric, weight / rate)
    for step in range(1, 20 * _ROUNDS + 1):
        shift = solve(size - size_dual + (slack - slack_dual) @ normals)
        before = size
        wanted = shift + size_dual
        size = wanted * rate / (1 + rate) if norm == "l2" else _softened(wanted, 1 / rate)
        size = np.clip(size, bounds.lower, bounds.upper)
        reached = normals @ shift
        slack = np.maximum(reached + slack_dual, offsets)
        size_dual, slack_dual = size_dual + shift - size, slack_dual + reached - slack
        apart, moved = float(np.linalg.norm(shift - size)), float(np.linalg.norm(size - before))
        if max(apart, moved) <= _SPLIT * scale:
            break
        # The rate that brings both parts together as fast as it lets them settle (Boyd et al., 3.4.1).
        if step % _BALANCED == 0 and not 0.1 < apart / max(moved, 1e-30) < 10:
            factor = 4.0 if apart > moved else 0.25
            rate, size_dual, slack_dual = rate * factor, size_dual / factor, slack_dual / factor
            solve = _Quadratic(normals, metric, weight / rate)
    return _repaired(normals, offsets, bounds, size)


class _Quadratic:
    """Solves ``(1 + weight P + N^T N) d = b``."""

    def __init__(self, normals: Doubles, metric: Metric, weight: float) -> None:
        """Takes N (constraints, units)."""
        self._vectors = metric.vectors
        self._shares = 1 / (1 + weight * metric.values)
        self._pulled = self._apart(normals.T)
        small = np.eye(len(normals)) + normals @ self._pulled
        self._missing = np.linalg.solve(small, normals)

    def _apart(self, sides: Doubles) -> Doubles:
        turned = self._vectors.T @ sides
        product: Doubles = self._vectors @ (turned.T * self._shares).T
        return product

    def __call__(self, side: Doubles) -> Doubles:
        """The d (units,) of b (units,)."""
        solved = self._apart(side)
        return solved - self._pulled @ (self._missing @ solved)


def _repaired(normals: Doubles, offsets: Doubles, bounds: Bounds, shift: Doubles) -> Doubles | None:
    """The nearest shift that satisfies the constraints, of the same units where that is possible."""
    lack = offsets - normals @ shift
    for moving in (shift != 0, np.ones_like(shift, np.bool_)):
        room = Bounds(np.where(moving, bounds.lower - shift, 0), np.where(moving, bounds.upper - shift, 0))
        change = _closest(normals, lack, room)
        if change is not None:
            return np.clip(shift + change, bounds.lower, bounds.upper)
    return None


def _softened(values: Doubles, threshold: float) -> Doubles:
    softened: Doubles = np.sign(values) * np.maximum(np.abs(values) - threshold, 0)
    return softened
