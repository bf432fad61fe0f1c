"""Quadratic programmes, against closed forms and other solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from workers.counterfactual.solvers.interior import Programme

SIZE = 20


def programme(seed: int, constraints: int, rank: int) -> Programme:
    """A problem that has a solution; rank 0 is a linear one, and some variables are not bounded."""
    rng = np.random.default_rng(seed)
    root, normals = rng.standard_normal((SIZE, rank)), rng.standard_normal((constraints, SIZE))
    lower, upper = -rng.uniform(0.1, 1, SIZE), rng.uniform(0.1, 1, SIZE)
    offsets = normals @ rng.uniform(lower, upper)
    if rank == SIZE:
        lower[::3], upper[::4] = -np.inf, np.inf
    return Programme(root @ root.T, rng.standard_normal(SIZE), normals, offsets, lower, upper)


@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from([3, SIZE]))
@settings(max_examples=40, deadline=None)
def test_multipliers_prove_the_least(seed: int, constraints: int, rank: int) -> None:
    given = programme(seed, constraints, rank)
    found = given.solved()
    assert found is not None
    z, multipliers = found
    slack = given.normals @ z - given.offsets
    assert slack.min() >= -1e-8
    assert multipliers.min() >= 0
    assert abs(slack @ multipliers) <= 1e-7
    assert (z >= given.lower - 1e-8).all()
    assert (z <= given.upper + 1e-8).all()
    slope = given.quadratic @ z + given.cost - multipliers @ given.normals
    # The slope may be above 0 at the lower bound alone, and below 0 at the upper one alone.
    assert (np.minimum(slope, z - given.lower) <= 1e-4).all()
    assert (np.minimum(-slope, given.upper - z) <= 1e-4).all()


def test_a_linear_programme_agrees_with_a_linear_solver() -> None:
    given = programme(3, 5, 0)
    found = given.solved()
    limits = list(zip(given.lower, given.upper, strict=True))
    exact = linprog(given.cost, A_ub=-given.normals, b_ub=-given.offsets, bounds=limits)
    assert found is not None
    assert given.cost @ found[0] == pytest.approx(exact.fun, abs=1e-6)
    np.testing.assert_allclose(found[1], -exact.ineqlin.marginals, atol=1e-5)


def test_without_anything_in_the_way_the_gradient_is_zero() -> None:
    given = programme(4, 1, SIZE)
    endless = np.full(SIZE, np.inf)
    free = Programme(given.quadratic, given.cost, given.normals, np.full(1, -1e3), -endless, endless)
    found = free.solved()
    assert found is not None
    np.testing.assert_allclose(found[0], -np.linalg.solve(given.quadratic, given.cost), rtol=1e-4)


def test_constraints_that_exclude_each_other_have_none() -> None:
    given = programme(5, 2, SIZE)
    normals = np.vstack([given.normals[:1], -given.normals[:1]])
    beats: list[None] = []
    bad = Programme(given.quadratic, given.cost, normals, np.ones(2), given.lower, given.upper)
    assert bad.solved(lambda: beats.append(None)) is None
    assert len(beats) > 1
