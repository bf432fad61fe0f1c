"""The smallest shift of one row's features that satisfies linear constraints.

The problem, with d the shift and N d >= o what lies beyond a boundary (or its tangents)::

    minimise  size(d) + plausibility / 2 d^T P d    subject to   N d >= o,  lower <= d <= upper

where size is ``|d|_1`` or ``|d|_2^2 / 2`` and ``d^T P d`` says how unusual the shift is (`metric`). All are
solved exactly: L2 by `closest`, L2 with plausibility by `usual`, L1 with and without by `sparse`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from workers.counterfactual.metric import Doubles, Metric
from workers.counterfactual.solvers.closest import Bounds, closest_shift
from workers.counterfactual.solvers.sparse import sparse_shift
from workers.counterfactual.solvers.usual import Held, usual_shift

Norm = Literal["l2", "l1"]


def smallest_shift(
    normals: Doubles,
    offsets: Doubles,
    bounds: Bounds,
    norm: Norm = "l2",
    metric: Metric | None = None,
    plausibility: float = 0.0,
    *,
    held: Held | None = None,
    beat: Callable[[], None] = lambda: None,
) -> Doubles | None:
    """Solves the problem of this module.

    Args:
        normals: (constraints, units), N.
        offsets: (constraints,), o.
        bounds: Of the shift.
        norm: Which size is meant.
        metric: P; needed with plausibility.
        plausibility: Weight of ``d^T P d``, 0 or more.
        held: What a problem of the same metric and weight left behind; the search starts there.
        beat: Called between iterations; whatever it raises ends the search.

    Returns:
        The shift (units,), or None where the constraints exclude each other. Constraints that are no numbers
        say nothing.
    """
    scale = np.linalg.norm(normals, axis=1)
    if (offsets[scale == 0] > 0).any():
        return None
    told = np.isfinite(scale) & np.isfinite(offsets) & (scale > 0)
    unit, level = normals[told] / scale[told, None], offsets[told] / scale[told]
    if not len(unit):
        unit, level = np.zeros((1, normals.shape[1])), np.zeros(1)
    closest = closest_shift(unit, level, bounds, beat)
    if closest is not None and not closest.any():
        return closest
    metric = metric if plausibility > 0 else None
    if norm == "l1":
        return sparse_shift(unit, level, bounds, closest, metric, plausibility, beat)
    if closest is None or metric is None:
        return closest
    return usual_shift(unit, level, bounds, metric, plausibility, closest, held, beat)
