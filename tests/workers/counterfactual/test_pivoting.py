"""The shortest vector between planes, against the conditions that make it so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.counterfactual.solvers.pivoting import shortest


def planes(seed: int, pairs: int, width: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit normals, and pairs of planes that have a point between them; some are one plane, some half open."""
    rng = np.random.default_rng(seed)
    normals = rng.standard_normal((pairs, width))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    inside = normals @ rng.standard_normal(width)
    lower, upper = (inside + sign * rng.uniform(0, 0.5, pairs) for sign in (-1, 1))
    kind = rng.integers(0, 4, pairs)
    lower[kind == 1], upper[kind == 2] = -np.inf, np.inf
    one = np.flatnonzero(kind == 3)[: width // 4]
    upper[one] = lower[one] = inside[one]
    return normals, lower, upper


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_multipliers_prove_the_shortest(seed: int, pairs: int) -> None:
    normals, lower, upper = planes(seed, pairs)
    guess = np.random.default_rng(seed).integers(-1, 2, pairs).astype(np.int8)
    guess[(guess > 0) & np.isinf(lower) | (guess < 0) & np.isinf(upper)] = 0
    for sides in (np.zeros(pairs, np.int8), guess):
        found = shortest(normals @ normals.T, lower, upper, sides, 1e-9)
        assert found is not None
        multipliers, touched = found
        values = normals @ (multipliers @ normals)
        assert (values >= lower - 1e-6).all()
        assert (values <= upper + 1e-6).all()
        open_pairs = lower < upper
        assert (multipliers * touched >= 0)[open_pairs].all()
        assert not multipliers[touched == 0].any()
        np.testing.assert_allclose(values[touched > 0], lower[touched > 0], atol=1e-6)
        np.testing.assert_allclose(values[touched < 0], upper[touched < 0], atol=1e-6)


def test_the_same_plane_may_be_given_twice() -> None:
    normals, lower, upper = planes(1, 6)
    both, low, high = (np.concatenate([array, array[::-1]]) for array in (normals, lower, upper))
    once = shortest(normals @ normals.T, lower, upper, np.zeros(6, np.int8), 1e-9)
    found = shortest(both @ both.T, low, high, np.zeros(12, np.int8), 1e-9)
    assert once is not None
    assert found is not None
    np.testing.assert_allclose(found[0] @ both, once[0] @ normals, atol=1e-6)


def test_planes_that_exclude_each_other_have_no_shortest() -> None:
    normals = np.array([[1.0, 0.0], [-1.0, 0.0]])
    endless = np.full(2, np.inf)
    assert shortest(normals @ normals.T, np.ones(2), endless, np.ones(2, np.int8), 1e-9) is None
    assert shortest(normals @ normals.T, np.ones(2), endless, np.zeros(2, np.int8), 1e-9) is None


def test_each_exchange_beats() -> None:
    normals, lower, upper = planes(3, 40)
    beats: list[None] = []
    shortest(normals @ normals.T, lower, upper, np.zeros(40, np.int8), 1e-9, lambda: beats.append(None))
    assert len(beats) > 1

    def stop() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        shortest(normals @ normals.T, lower, upper, np.zeros(40, np.int8), 1e-9, stop)
