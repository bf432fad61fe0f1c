"""The smallest shift, against closed forms and certificates of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from workers.counterfactual.nearest import Bounds, Distance, smallest_shift

UNITS = 30
FREE = Bounds(np.full(UNITS, -np.inf), np.full(UNITS, np.inf))


def problem(seed: int, constraints: int) -> tuple[np.ndarray, np.ndarray, Bounds]:
    """Constraints that some shift within bounds satisfies."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((constraints, UNITS)) * rng.uniform(0.1, 10, (constraints, 1))
    bounds = Bounds(-rng.uniform(0, 0.3, UNITS), rng.uniform(0, 1, UNITS))
    inside = rng.uniform(bounds.lower, bounds.upper)
    return normals, normals @ inside, bounds


def test_one_boundary_is_reached_along_its_normal() -> None:
    normals, offsets, _ = problem(0, 1)
    offsets = np.abs(offsets) + 1
    found = smallest_shift(normals, offsets, FREE)
    assert found is not None
    np.testing.assert_allclose(found, offsets * normals[0] / (normals[0] ** 2).sum(), rtol=1e-9)


def test_one_boundary_costs_one_unit_in_l1() -> None:
    normals, offsets, _ = problem(0, 1)
    offsets = np.abs(offsets) + 1
    found = smallest_shift(normals, offsets, FREE, "l1")
    best = np.abs(normals[0]).argmax()
    expected = np.zeros(UNITS)
    expected[best] = offsets[0] / normals[0, best]
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_bounded_units_are_filled_in_the_order_of_their_use(seed: int) -> None:
    """L1 with bounds and one boundary is a fractional knapsack, which greed solves."""
    normals, offsets, bounds = problem(seed, 1)
    normal = normals[0]
    room = np.where(normal > 0, bounds.upper, -bounds.lower)
    missing, cost = max(float(offsets[0]), 0.0), 0.0
    for unit in np.argsort(-np.abs(normal)):
        step = min(room[unit], missing / abs(normal[unit]))
        cost, missing = cost + step, missing - step * abs(normal[unit])
    found = smallest_shift(normals, offsets, bounds, "l1")
    assert found is not None
    assert np.abs(found).sum() == pytest.approx(cost, abs=1e-7)
    assert normal @ found >= offsets[0] - 1e-7


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_least_l2_has_multipliers_that_prove_it(seed: int, constraints: int) -> None:
    """KKT: d = clip(N^T y) for some y >= 0 that is 0 where a constraint is slack, found from d alone."""
    normals, offsets, bounds = problem(seed, constraints)
    found = smallest_shift(normals, offsets, bounds)
    assert found is not None
    slack = normals @ found - offsets
    tolerance = 1e-6 * max(1.0, np.abs(offsets).max())
    assert slack.min() >= -tolerance
    free = (found > bounds.lower + 1e-9) & (found < bounds.upper - 1e-9)
    active = slack <= tolerance
    if not active.any():
        assert not found.any()
        return
    assert free.any()
    multipliers, error = nnls(normals[np.ix_(active, free)].T, found[free])
    assert error <= 1e-5
    pull = multipliers @ normals[active]
    np.testing.assert_allclose(np.clip(pull, bounds.lower, bounds.upper), found, atol=1e-5)


def test_several_boundaries_agree_with_a_general_solver() -> None:
    normals, offsets, bounds = problem(3, 4)
    found = smallest_shift(normals, offsets, bounds)
    slow = minimize(
        lambda d: d @ d / 2,
        np.zeros(UNITS),
        jac=lambda d: d,
        method="SLSQP",
        bounds=list(zip(bounds.lower, bounds.upper, strict=True)),
        constraints={"type": "ineq", "fun": lambda d: normals @ d - offsets, "jac": lambda d: normals},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found is not None
    assert np.linalg.norm(found) == pytest.approx(np.linalg.norm(slow.x), rel=1e-6)
    assert np.linalg.norm(found) > 0.01


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_what_cannot_be_is_said(norm: str) -> None:
    normals = np.ones((1, UNITS))
    none = Bounds(np.zeros(UNITS), np.ones(UNITS))
    assert smallest_shift(normals, np.array([UNITS + 1.0]), none, norm) is None  # type: ignore[arg-type]
    assert smallest_shift(np.vstack([normals, -normals]), np.ones(2), FREE, norm) is None  # type: ignore[arg-type]
    assert smallest_shift(0 * normals, np.ones(1), FREE, norm) is None  # type: ignore[arg-type]
    nothing = smallest_shift(normals, -np.ones(1), FREE, norm)  # type: ignore[arg-type]
    assert nothing is not None
    assert not nothing.any()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_plausibility_is_weighed_against_size(norm: str) -> None:
    normals, offsets, bounds = problem(5, 2)
    rng = np.random.default_rng(8)
    distance = Distance(rng.standard_normal((8, UNITS)), rng.standard_normal(8))

    def loss(shift: np.ndarray, weight: float) -> float:
        size = np.abs(shift).sum() if norm == "l1" else shift @ shift / 2
        return float(size + weight / 2 * ((distance.matrix @ shift + distance.start) ** 2).sum())

    plain = smallest_shift(normals, offsets, bounds, norm)  # type: ignore[arg-type]
    found = smallest_shift(normals, offsets, bounds, norm, distance, 0.5)  # type: ignore[arg-type]
    assert plain is not None
    assert found is not None
    assert (normals @ found >= offsets - 1e-6).all()
    assert loss(found, 0.5) < loss(plain, 0.5) - 1e-3
    # No feasible neighbour is better: the problem is convex, so this is the minimum.
    for _ in range(300):
        other = np.clip(found + 0.03 * rng.standard_normal(UNITS), bounds.lower, bounds.upper)
        if (normals @ other >= offsets).all():
            assert loss(other, 0.5) > loss(found, 0.5) - 1e-5
