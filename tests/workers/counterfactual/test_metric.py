"""How unusual shifts are: the parts of P, and how it is come by."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from workers.counterfactual.metric import Metric, aside


def test_all_that_is_asked_of_p_agrees_with_p() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5, 9))
    metric, p = Metric.of(matrix), matrix.T @ matrix
    shift = rng.standard_normal(9) * (np.arange(9) % 2)
    np.testing.assert_allclose(metric.slope(shift), p @ shift, atol=1e-9)
    some = np.array([4, 1, 4])
    np.testing.assert_allclose(metric.between(some), p[np.ix_(some, some)], atol=1e-9)
    root = metric.vectors * metric.shares(2.0)
    np.testing.assert_allclose(root.T @ (np.eye(9) + 2 * p) @ root, np.eye(9), atol=1e-9)


def test_a_sample_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, ...]] = []
    eigh = np.linalg.eigh

    def counted(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        taken.append(matrix.shape)
        found = eigh(matrix)
        return found[0], found[1]

    monkeypatch.setattr(np.linalg, "eigh", counted)
    sample = np.random.default_rng(1).standard_normal((50, 7)).astype(np.float32)
    first, again = Metric.of_sample(sample), Metric.of_sample(sample.copy())
    assert taken == [(7, 7)]
    np.testing.assert_array_equal(first.vectors, again.vectors)
    other = Metric.of_sample(sample[:40])
    assert len(taken) == 2
    assert np.abs(other.values - first.values).max() > 1e-3
    wide = Metric.of_sample(sample.astype(np.float64))
    np.testing.assert_array_equal(wide.values, first.values)


def test_the_pulse_is_felt_while_something_is_done_aside() -> None:
    felt = threading.Semaphore(0)

    def work() -> int:
        # Ends only when the pulse was felt twice meanwhile.
        return sum(felt.acquire(timeout=30) for _ in range(2))

    assert aside(work, felt.release) == 2


def test_what_is_done_aside_is_left_when_the_pulse_stops() -> None:
    going = threading.Event()

    def stop() -> None:
        raise KeyError

    try:
        with pytest.raises(KeyError):
            aside(lambda: going.wait(30), stop)
    finally:
        going.set()

    def fail() -> None:
        raise ValueError("what work raised")

    with pytest.raises(ValueError, match="what work raised"):
        aside(fail, lambda: None)
