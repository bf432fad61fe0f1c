"""The smallest shift of one row's features that satisfies linear constraints.

The problem, with d the shift and N d >= o what lies beyond a boundary (or its tangents)::

    minimise  size(d) + plausibility / 2 |B d + c|^2    subject to   N d >= o,  lower <= d <= upper

where size is ``|d|_1`` or ``|d|_2^2 / 2`` and ``|B d + c|`` is the Mahalanobis distance of the shifted w.
Without plausibility both are solved exactly: L1 as a linear programme, L2 through its dual, which has one
variable a constraint and is piecewise quadratic (projected Newton, Bertsekas 1982). With it, the alternating
direction method of multipliers (Boyd et al. 2011) splits the quadratic from size and bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linprog, minimize

from workers.counterfactual.models import Doubles, Linker

Norm = Literal["l2", "l1"]
_TOLERANCE = 1e-9
_ROUNDS = 100
_UNBOUNDED = 1e15
"""A dual beyond this grows without end: nothing is feasible."""


@dataclass(frozen=True)
class Bounds:
    """What a shift may be: (units,) each."""

    lower: Doubles
    upper: Doubles


@dataclass(frozen=True)
class Distance:
    """A squared distance ``|B d + c|^2`` as a function of the shift: B (k, units), c (k,)."""

    matrix: Doubles
    start: Doubles

    @classmethod
    def of(cls, linker: Linker, features: Doubles) -> Distance:
        """The Mahalanobis distance per root dimension of the latents of features (units,), when shifted."""
        root = np.sqrt(len(linker.latent_mean))
        start = linker.whitener @ (linker.latents(features[None])[0] - linker.latent_mean)
        return cls(linker.whitener @ linker.weight / root, start / root)


def smallest_shift(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    norm: Norm = "l2",
    distance: Distance | None = None,
    plausibility: float = 0.0,
) -> Doubles | None:
    """Solves the problem of this module.

    Args:
        normals: (constraints, units), N.
        offsets: (constraints,), o.
        bounds: Of the shift.
        norm: Which size is meant.
        distance: B and c; needed with plausibility.
        plausibility: Weight of the squared distance, 0 or more.

    Returns:
        The shift (units,), or None where the constraints exclude each other.
    """
    scale = np.linalg.norm(normals, axis=1)
    if (offsets[scale == 0] > 0).any():
        return None
    unit, level = normals[scale > 0] / scale[scale > 0, None], offsets[scale > 0] / scale[scale > 0]
    if not len(unit):
        unit, level = np.zeros((1, normals.shape[1])), np.zeros(1)
    if distance is not None and plausibility > 0:
        return _plausible(unit, level, bounds, norm, distance, plausibility)
    return _sparse(unit, level, bounds) if norm == "l1" else _closest(unit, level, bounds)


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


def _plausible(
    normals: Doubles, offsets: Doubles, bounds: Bounds, norm: Norm, distance: Distance, weight: float
) -> Doubles | None:
    """The split problem; what comes out is moved the little that is missing to the constraints."""
    first = _closest(normals, offsets, bounds)
    if first is None:
        return None
    # Steps about as large as the shifts themselves; of L1, whose prox subtracts 1 / rate.
    rate = 1.0 if norm == "l2" else 3 / max(float(np.abs(first).max()), 1e-6)
    stacked = np.vstack([np.sqrt(weight / rate) * distance.matrix, normals])
    inverse = np.linalg.inv(np.eye(len(stacked)) + stacked @ stacked.T)
    fixed = -(weight / rate) * distance.start @ distance.matrix
    size, slack = first, np.maximum(normals @ first, offsets)
    size_dual, slack_dual = np.zeros_like(size), np.zeros_like(slack)
    scale = max(float(np.linalg.norm(first)), 1e-9)
    for _ in range(20 * _ROUNDS):
        side = fixed + size - size_dual + (slack - slack_dual) @ normals
        shift = side - stacked.T @ (inverse @ (stacked @ side))
        before = size
        wanted = shift + size_dual
        size = wanted * rate / (1 + rate) if norm == "l2" else _softened(wanted, 1 / rate)
        size = np.clip(size, bounds.lower, bounds.upper)
        reached = normals @ shift
        slack = np.maximum(reached + slack_dual, offsets)
        size_dual, slack_dual = size_dual + shift - size, slack_dual + reached - slack
        if max(np.linalg.norm(shift - size), np.linalg.norm(size - before)) <= 1e-7 * scale:
            break
    return _repaired(normals, offsets, bounds, size)


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
