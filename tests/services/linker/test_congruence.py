"""CKA and the correlation of distances against known cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from services.linker.congruence import (
    PairStatistic,
    distance_rank_correlation,
    grouped_jackknife,
    linear_cka,
)


def _rows(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns))


@pytest.mark.parametrize("seed", [0, 1])
def test_both_are_one_under_rotation_scale_and_shift(seed: int) -> None:
    x = _rows(seed, 60, 8)
    rotation = np.linalg.qr(_rows(seed + 10, 8, 8))[0]
    y = 3.0 * x @ rotation + 5.0
    assert linear_cka(x, y) == pytest.approx(1.0, abs=1e-12)
    assert distance_rank_correlation(x, y) == pytest.approx(1.0, abs=1e-9)


def test_cka_equals_the_direct_unbiased_formula() -> None:
    x, y = _rows(0, 12, 5), _rows(1, 12, 3) + _rows(0, 12, 5)[:, :3]
    n = 12

    def hsic(first: np.ndarray, second: np.ndarray) -> float:
        k, l = first @ first.T, second @ second.T  # noqa: E741
        total = 0.0
        for i in range(n):
            for j in range(n):
                for p in range(n):
                    for q in range(n):
                        if len({i, j, p, q}) == 4:
                            total += k[i, j] * (l[i, j] + l[p, q] - 2 * l[i, p])
        return total

    expected = hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)


def test_cka_of_unrelated_rows_is_near_zero_even_with_many_columns() -> None:
    """The plain estimate is near 0.5 here."""
    values = [linear_cka(_rows(seed, 100, 100), _rows(seed + 99, 100, 100)) for seed in range(20)]
    assert abs(np.mean(values)) < 0.02


def test_rank_correlation_equals_scipy() -> None:
    x, y = _rows(2, 20, 4), _rows(3, 20, 2)
    pairs = [(i, j) for i in range(20) for j in range(i)]
    first, second = ([np.linalg.norm(v[i] - v[j]) for i, j in pairs] for v in (x, y))
    assert distance_rank_correlation(x, y) == pytest.approx(spearmanr(first, second).statistic)


def test_without_variation_both_are_undefined() -> None:
    x = _rows(4, 20, 3)
    assert np.isnan(linear_cka(x, np.ones((20, 2))))
    assert np.isnan(distance_rank_correlation(np.ones((20, 2)), x))


def _related(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    x = _rows(seed, rows, 4)
    return x, x[:, :3] + 0.8 * _rows(seed + 10_000, rows, 3)


def test_the_interval_holds_the_cka_of_the_population_nearly_always() -> None:
    """For Gaussians CKA is |S_xy|^2 / (|S_xx| |S_yy|): here 3 / (2 * 1.64 * sqrt(3))."""
    truth = 3 / (2 * 1.64 * np.sqrt(3))
    hits = 0
    for seed in range(40):
        estimate = grouped_jackknife(linear_cka, *_related(seed, 100), seed=seed)
        hits += estimate.lower <= truth <= estimate.upper
    assert hits >= 34


@pytest.mark.parametrize("statistic", [linear_cka, distance_rank_correlation])
def test_the_width_of_the_interval_is_the_spread_between_samples(statistic: PairStatistic) -> None:
    spread = np.std([statistic(*_related(seed, 80)) for seed in range(60)])
    estimates = [grouped_jackknife(statistic, *_related(seed, 80), seed=0) for seed in range(8)]
    widths = [estimate.upper - estimate.lower for estimate in estimates]
    assert np.mean(widths) / (2 * 2.093) == pytest.approx(spread, rel=0.4)


def test_few_rows_have_no_interval() -> None:
    estimate = grouped_jackknife(linear_cka, _rows(0, 30, 3), _rows(1, 30, 3), seed=0)
    assert np.isfinite(estimate.value)
    assert np.isnan(estimate.lower)
