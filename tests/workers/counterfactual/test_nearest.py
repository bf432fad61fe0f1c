"""The smallest shift, against closed forms and certificates of optimality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize, nnls

from workers.counterfactual.metric import Metric
from workers.counterfactual.solvers import usual
from workers.counterfactual.solvers.closest import Bounds
from workers.counterfactual.solvers.interior import Programme
from workers.counterfactual.solvers.nearest import Norm, smallest_shift
from workers.counterfactual.solvers.usual import Held

UNITS = 30
FREE = Bounds(np.full(UNITS, -np.inf), np.full(UNITS, np.inf))


def problem(seed: int, constraints: int, units: int = UNITS) -> tuple[np.ndarray, np.ndarray, Bounds]:
    """Constraints that some shift within bounds satisfies."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((constraints, units)) * rng.uniform(0.1, 10, (constraints, 1))
    bounds = Bounds(-rng.uniform(0, 0.3, units), rng.uniform(0, 1, units))
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
@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_constraints_that_are_no_numbers_say_nothing(norm: Norm, weight: float) -> None:
    normals, offsets, bounds = problem(3, 4)
    metric, bad = _metric(3), normals.copy()
    bad[1, 5], bad[2, 7] = np.nan, np.inf
    levels = offsets.copy()
    levels[3] = np.nan
    found = smallest_shift(bad, levels, bounds, norm, metric, weight)
    first = smallest_shift(normals[:1], offsets[:1], bounds, norm, metric, weight)
    assert found is not None
    assert first is not None
    np.testing.assert_array_equal(found, first)
    nothing = smallest_shift(bad[1:3], offsets[1:3], bounds, norm, metric, weight)
    assert nothing is not None
    assert not nothing.any()


def _metric(seed: int, rank: int = 8, units: int = UNITS) -> Metric:
    return Metric.of(np.random.default_rng(seed).standard_normal((rank, units)))


def _cost(shift: np.ndarray, metric: Metric, weight: float) -> float:
    """What L2 with plausibility minimises."""
    return float(shift @ shift / 2 + weight / 2 * metric.lengths(shift) ** 2)


@given(st.integers(0, 10_000), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_of_many_units_the_few_that_pay_are_found(seed: int, constraints: int) -> None:
    """Against the linear programme of all units at once."""
    units = 150
    normals, offsets, bounds = problem(seed, constraints, units)
    found = smallest_shift(normals, offsets, bounds, "l1")
    limits = [(0, most) for most in (*bounds.upper, *-bounds.lower)]
    whole = linprog(np.ones(2 * units), A_ub=np.hstack([-normals, normals]), b_ub=-offsets, bounds=limits)
    assert found is not None
    assert np.abs(found).sum() == pytest.approx(whole.fun, rel=1e-6, abs=1e-9)
    assert (normals @ found >= offsets - 1e-6).all()


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_the_most_plausible_of_few_units_has_multipliers_that_prove_it(
    seed: int, constraints: int, weight: float
) -> None:
    """KKT, multipliers found from the shift alone: a unit that is still would not pay, one that moves just does."""
    units = 150
    normals, offsets, bounds = problem(seed, constraints, units)
    metric = _metric(seed, units=units)
    found = smallest_shift(normals, offsets, bounds, "l1", metric, weight)
    assert found is not None
    lengths = np.linalg.norm(normals, axis=1)
    normals, offsets = normals / lengths[:, None], offsets / lengths
    slack = normals @ found - offsets
    assert slack.min() >= -1e-7
    assert (found >= bounds.lower).all()
    assert (found <= bounds.upper).all()
    active = normals[slack <= 1e-6]
    slope = weight * metric.slope(found)
    # What one more unit of length costs upwards is at least 0, and so downwards, but for multipliers.
    sign = np.sign(found)
    up = np.where(sign < 0, -1, 1) + slope, found < bounds.upper - 1e-6
    down = np.where(sign > 0, -1, 1) - slope, found > bounds.lower + 1e-6
    rows = np.vstack([active.T[up[1]], -active.T[down[1]]])
    most = np.concatenate([up[0][up[1]], down[0][down[1]]])
    count = len(active)
    # The least t with `rows @ y <= most + t` and y >= 0.
    proof = linprog(
        np.append(np.zeros(count), 1.0), A_ub=np.hstack([rows, -np.ones((len(rows), 1))]), b_ub=most
    )
    assert proof.fun <= 1e-4 * (1 + np.abs(slope).max())


@given(st.integers(0, 10_000), st.floats(0.01, 1e4))
@settings(max_examples=25, deadline=None)
def test_what_was_held_before_changes_the_way_and_not_the_end(seed: int, weight: float) -> None:
    normals, offsets, bounds = problem(seed, 6)
    metric, held = _metric(seed), Held()
    for count in (1, 2, 4, 6, 5):
        near = Bounds(bounds.lower * (1 - count / 20), bounds.upper)
        arguments = normals[:count], offsets[:count] / 2, near, "l2", metric, weight
        cold, warm = smallest_shift(*arguments), smallest_shift(*arguments, held=held)  # type: ignore[arg-type]
        assert (cold is None) == (warm is None)
        if cold is not None and warm is not None:
            np.testing.assert_allclose(warm, cold, atol=1e-6)
    assert (held.bounds != 0).all()
    assert held.gram.shape == (len(held.units), len(held.units))


def test_where_exchanges_do_not_end_the_interior_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    normals, offsets, bounds = problem(3, 4)
    bounds.lower[:5] = bounds.upper[:5] = 0
    metric, weight = _metric(5), 3.0
    exact = smallest_shift(normals, offsets, bounds, "l2", metric, weight)
    closest = smallest_shift(normals, offsets, bounds)
    monkeypatch.setattr(usual, "shortest", lambda *_: None)
    slow = smallest_shift(normals, offsets, bounds, "l2", metric, weight)
    assert exact is not None
    assert slow is not None
    assert closest is not None
    assert _cost(exact, metric, weight) < 0.99 * _cost(closest, metric, weight)
    np.testing.assert_allclose(slow, exact, atol=1e-4)
    assert (normals @ slow >= offsets - 1e-6).all()
    monkeypatch.setattr(Programme, "solved", lambda *_: None)
    np.testing.assert_array_equal(smallest_shift(normals, offsets, bounds, "l2", metric, weight), closest)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_pulse_is_felt_between_iterations(norm: Norm, weight: float) -> None:
    normals, offsets, bounds = problem(3, 4, 150)
    metric = _metric(3, units=150)
    beats: list[None] = []
    given = normals, offsets, bounds, norm, metric, weight
    assert smallest_shift(*given, beat=lambda: beats.append(None)) is not None
    assert len(beats) >= 3

    def stop() -> None:
        next(left)

    # Wherever it is stopped, it stops.
    for last in range(len(beats)):
        left = iter(range(last))
        with pytest.raises(StopIteration):
            smallest_shift(*given, beat=stop)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("weight", [0.5, 50.0])
def test_plausibility_is_weighed_against_size(norm: str, weight: float) -> None:
    normals, offsets, bounds = problem(3, 4)
    rng = np.random.default_rng(8)
    metric = _metric(8)

    def loss(shift: np.ndarray) -> float:
        size = np.abs(shift).sum() if norm == "l1" else shift @ shift / 2
        return float(size + weight / 2 * metric.lengths(shift) ** 2)

    plain = smallest_shift(normals, offsets, bounds, norm)  # type: ignore[arg-type]
    found = smallest_shift(normals, offsets, bounds, norm, metric, weight)  # type: ignore[arg-type]
    assert plain is not None
    assert found is not None
    assert (normals @ found >= offsets - 1e-6).all()
    assert loss(found) < 0.995 * loss(plain)
    # No feasible neighbour is better: the problem is convex, so this is the minimum.
    for _ in range(300):
        other = np.clip(found + 0.003 * rng.standard_normal(UNITS), bounds.lower, bounds.upper)
        if (normals @ other >= offsets).all():
            assert loss(other) > loss(found) - 1e-7


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.01, 1e4))
@example(4095, 1, 3988.3226061031664)  # An active set of which rows never left.
@settings(max_examples=40, deadline=None)
def test_the_most_plausible_has_multipliers_that_prove_it(seed: int, constraints: int, weight: float) -> None:
    """KKT: d + weight P d is made of the normals of what holds it back, constraints and bounds."""
    normals, offsets, bounds = problem(seed, constraints)
    metric = _metric(seed)
    found = smallest_shift(normals, offsets, bounds, "l2", metric, weight)
    assert found is not None
    tolerance = 1e-6 * max(1.0, np.abs(offsets).max())
    assert (normals @ found - offsets).min() >= -tolerance * np.linalg.norm(normals, axis=1).max()
    assert (found >= bounds.lower).all()
    assert (found <= bounds.upper).all()
    identity = np.eye(UNITS)
    lengths = np.linalg.norm(normals, axis=1)
    active = [
        (normals / lengths[:, None])[(normals @ found - offsets) / lengths <= 10 * tolerance],
        identity[found <= bounds.lower + 10 * tolerance],
        -identity[found >= bounds.upper - 10 * tolerance],
    ]
    slope = found + weight * (metric.vectors * metric.values) @ (metric.vectors.T @ found)
    if not np.concatenate(active).size:
        np.testing.assert_allclose(slope, 0, atol=1e-6)
        return
    _, error = nnls(np.concatenate(active).T, slope)
    assert error <= 1e-4 * max(1.0, float(np.linalg.norm(slope)))


def test_without_bounds_the_most_plausible_way_to_a_plane_is_in_closed_form() -> None:
    normals, offsets, _ = problem(0, 1)
    offsets, weight = np.abs(offsets) + 1, 3.0
    matrix = np.random.default_rng(2).standard_normal((UNITS + 5, UNITS))
    way = np.linalg.solve(np.eye(UNITS) + weight * matrix.T @ matrix, normals[0])
    found = smallest_shift(normals, offsets, FREE, "l2", Metric.of(matrix), weight)
    np.testing.assert_allclose(found, offsets * way / (normals[0] @ way), rtol=1e-6)


def test_a_sample_tells_which_shifts_are_usual() -> None:
    rng = np.random.default_rng(4)
    mixing = rng.standard_normal((6, 6)) * np.geomspace(1, 10, 6)
    metric = Metric.of_sample(rng.standard_normal((20_000, 6)) @ mixing.T)
    shifts = rng.standard_normal((50, 6))
    exact = np.sqrt((shifts * np.linalg.solve(mixing @ mixing.T, shifts.T).T).sum(1))
    # Shrinking takes a hundredth from the wide directions and makes the narrow ones wider.
    wide = mixing[:, -1]
    assert metric.lengths(wide) == pytest.approx(1, rel=0.05)
    assert (metric.lengths(shifts) <= 1.05 * exact).all()
    assert (metric.lengths(shifts) >= 0.1 * exact).all()
    scaled = metric.scaled(np.arange(1.0, 7.0))
    np.testing.assert_allclose(scaled.lengths(shifts), metric.lengths(shifts * np.arange(1.0, 7.0)))
    still = Metric.of_sample(np.ones((5, 3)))
    assert np.isfinite(still.lengths(np.ones((2, 3)))).all()
