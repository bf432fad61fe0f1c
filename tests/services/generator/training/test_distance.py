"""Distances between sets of features, against closed forms, and their intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from services.generator.training import distance as distance_module
from services.generator.training.distance import frechet_distance, kernel_distance, measure
from unitscope.errors import InvalidArgumentError


def gaussian(seed: int, rows: int, width: int, mean: float = 0.0, scale: float = 1.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, scale, (rows, width))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frechet_distance_of_gaussians_that_differ_in_mean_and_scale(seed: int) -> None:
    a, b = gaussian(seed, 40_000, 3), gaussian(seed + 9, 40_000, 3, mean=2.0, scale=3.0)
    # |mean difference|^2 + sum of (deviation difference)^2
    assert frechet_distance(a, b) == pytest.approx(3 * 4 + 3 * 4, rel=0.03)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fewer_samples_than_features_give_the_same_distance(seed: int) -> None:
    a, b = gaussian(seed, 30, 50), gaussian(seed + 9, 24, 50, mean=0.3, scale=1.5)
    assert distance_module._frechet(a, b) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_kernel_distance_is_its_definition() -> None:
    a, b = gaussian(0, 6, 4), gaussian(1, 5, 4, mean=1.0)

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within_a = np.mean([kernel(x, y) for x, y in itertools.permutations(a, 2)])
    within_b = np.mean([kernel(x, y) for x, y in itertools.permutations(b, 2)])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(within_a + within_b - 2 * across, rel=1e-12)


def test_kernel_distance_is_unbiased() -> None:
    found = [kernel_distance(gaussian(s, 20, 5), gaussian(s + 1000, 30, 5)) for s in range(300)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error


def test_the_jackknife_of_the_kernel_is_that_of_samples_left_out() -> None:
    a, b = gaussian(0, 43, 6), gaussian(1, 37, 6, mean=0.5)
    found = measure(a, b)
    left_out = []
    for group in range(10):
        keep_a = np.arange(len(a)) % 10 != group
        keep_b = np.arange(len(b)) % 10 != group
        left_out.append(kernel_distance(a[keep_a], b[keep_b]))
    spread = np.sqrt(0.9 * np.square(np.array(left_out) - np.mean(left_out)).sum())
    assert found.kernel.value == pytest.approx(kernel_distance(a, b), rel=1e-10)
    assert found.kernel.high - found.kernel.value == pytest.approx(2.262 * spread, rel=1e-6)


def test_intervals_cover() -> None:
    # Of the mean discrepancy, which is unbiased: its true value, estimated from many samples.
    truth = kernel_distance(gaussian(7, 4000, 4), gaussian(8, 4000, 4, mean=0.5))
    covered = 0
    for seed in range(60):
        found = measure(gaussian(seed, 100, 4), gaussian(seed + 500, 100, 4, mean=0.5)).kernel
        covered += found.low <= truth <= found.high
    assert 50 <= covered <= 60


def test_equal_sets_are_near_and_others_far() -> None:
    a, near, far = gaussian(0, 200, 8), gaussian(1, 200, 8), gaussian(2, 200, 8, mean=1.0)
    close, apart = measure(a, near), measure(a, far)
    assert close.frechet.high < apart.frechet.low
    assert close.kernel.low < 0 < apart.kernel.low
    assert close.frechet.low >= 0
    assert (close.generated, close.real) == (200, 200)
    assert apart.to_dict()["frechet"]["value"] == pytest.approx(apart.frechet.value, rel=1e-5)


@pytest.mark.parametrize(
    ("generated", "real", "words"),
    [
        (np.zeros((19, 4)), np.zeros((30, 4)), r"generated has the shape \(19, 4\); \(20 or more, 4\)"),
        (np.zeros((30, 4)), np.zeros((30, 5)), r"real has the shape \(30, 5\)"),
        (np.full((30, 4), np.nan), np.zeros((30, 4)), "generated pictures hold NaN"),
    ],
)
def test_what_cannot_be_measured(
    generated: NDArray[np.float64], real: NDArray[np.float64], words: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        measure(generated, real)
