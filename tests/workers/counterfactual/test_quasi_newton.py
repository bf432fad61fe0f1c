"""Many functions are minimised side by side, each as it would be alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workers.counterfactual.quasi_newton import Effort, minimise

WIDTH = 12


@dataclass
class Nothing:
    def at(self, chosen: np.ndarray) -> Nothing:
        return self


@dataclass
class Bowls:
    """Quadratics ``(x - c)^T H (x - c) / 2 + floor`` of different shapes, one a row."""

    hessians: np.ndarray
    centres: np.ndarray
    floor: float = 0.0
    asked: list[int] = field(default_factory=list)

    def value(self, rows: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, Nothing]:
        self.asked.append(len(rows))
        apart = points - self.centres[rows]
        return np.einsum("ni,nij,nj->n", apart, self.hessians[rows], apart) / 2 + self.floor, Nothing()

    def gradient(self, rows: np.ndarray, points: np.ndarray, seen: Nothing) -> np.ndarray:
        return np.einsum("nij,nj->ni", self.hessians[rows], points - self.centres[rows])


def bowls(rows: int = 5, floor: float = 0.0) -> Bowls:
    rng = np.random.default_rng(0)
    turns = np.linalg.qr(rng.standard_normal((rows, WIDTH, WIDTH)))[0]
    hessians = turns @ (np.geomspace(1, 50, WIDTH)[:, None] * turns.transpose(0, 2, 1))
    return Bowls(hessians, rng.standard_normal((rows, WIDTH)), floor)


def test_every_row_reaches_its_own_bottom() -> None:
    problem = bowls()
    # Far fewer steps than the steepest descent needs with axes of such different lengths.
    found = minimise(problem, np.zeros((5, WIDTH)), Effort(steps=40))
    assert (found.values < 1e-6 * found.first).all()
    np.testing.assert_allclose(found.points, problem.centres, atol=1e-2)
    assert (found.gradients <= found.tried + 1).all()


def test_rows_do_not_depend_on_each_other() -> None:
    problem = bowls()
    together = minimise(problem, np.zeros((5, WIDTH)), Effort(steps=12))
    alone = Bowls(problem.hessians[3:4], problem.centres[3:4])
    found = minimise(alone, np.zeros((1, WIDTH)), Effort(steps=12))
    np.testing.assert_allclose(found.points[0], together.points[3], atol=1e-9)
    assert found.tried[0] == together.tried[3]


def test_rows_that_no_longer_gain_stop_alone() -> None:
    problem = bowls(floor=1.0)
    problem.centres[0] = 1e-3
    found = minimise(problem, np.zeros((5, WIDTH)), Effort(steps=80))
    assert found.tried[0] <= 8
    assert (found.tried[1:] > found.tried[0]).all()
    assert problem.asked[-1] < 5
    assert (found.values - 1 < 0.02 * found.first).all()


def test_a_start_at_the_bottom_stays() -> None:
    problem = bowls()
    found = minimise(problem, problem.centres.copy(), Effort())
    assert not found.tried.any()
    np.testing.assert_array_equal(found.points, problem.centres)


def test_walls_and_missing_numbers_make_no_row_worse() -> None:
    """Beyond a wall values are NaN, or the gradient points the wrong way: rows stay where they are best."""

    class Walled(Bowls):
        def value(self, rows: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, Nothing]:
            values, seen = super().value(rows, points)
            return np.where(np.abs(points).max(1) > 0.3, np.nan, values), seen

    class Wrong(Bowls):
        def gradient(self, rows: np.ndarray, points: np.ndarray, seen: Nothing) -> np.ndarray:
            return -super().gradient(rows, points, seen)

    class Blind(Bowls):
        def gradient(self, rows: np.ndarray, points: np.ndarray, seen: Nothing) -> np.ndarray:
            return np.full_like(points, np.nan)

    plain = bowls()
    for kind in (Walled, Wrong, Blind):
        problem = kind(plain.hessians, plain.centres)
        found = minimise(problem, np.zeros((5, WIDTH)), Effort(steps=40))
        assert np.isfinite(found.values).all()
        assert (found.values <= found.first).all()
        moved = (found.values < found.first).all()
        assert moved == (kind is Walled)
