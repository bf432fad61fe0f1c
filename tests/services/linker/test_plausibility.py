"""Mahalanobis distances against the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from services.linker.plausibility import left_out, mahalanobis
from unitscope.errors import InvalidArgumentError


@pytest.mark.parametrize("seed", [0, 1])
def test_the_closed_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((4, 4))
    covariance, mean = root @ root.T, rng.standard_normal(4)
    latents = rng.standard_normal((7, 4)).astype(np.float32)
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / 4 * np.eye(4)
    delta = latents - mean
    expected = np.sqrt((delta @ np.linalg.inv(shrunk) * delta).sum(axis=1))
    np.testing.assert_allclose(mahalanobis(latents, mean, covariance, 0.1), expected, rtol=1e-9)


@pytest.mark.parametrize(("count", "size"), [(12, 8), (40, 8), (400, 3)])
def test_distances_of_latents_that_are_left_out_of_what_they_are_measured_by(count: int, size: int) -> None:
    rng = np.random.default_rng(count)
    latents = rng.standard_normal((count, size)) @ rng.standard_normal((size, size))

    def measured(others: np.ndarray, some: np.ndarray) -> np.ndarray:
        return mahalanobis(some, others.mean(0), np.cov(others.T), 1e-9)

    expected = [measured(np.delete(latents, k, 0), latents[k : k + 1])[0] for k in range(count)]
    inside = measured(latents, latents)
    np.testing.assert_allclose(left_out(inside, count, 1e-9), expected, rtol=1e-6)
    assert (np.array(expected) > inside).all()


def test_two_latents_have_nobody_left_to_be_measured_by() -> None:
    assert left_out(np.array([0.7, 0.7]), 2).tolist() == [0.7, 0.7]


def test_a_singular_covariance_makes_steps_out_of_its_space_far_but_finite() -> None:
    covariance = np.diag([1.0, 1.0, 0.0])
    inside, outside = mahalanobis(np.eye(3)[[0, 2]], np.zeros(3), covariance)
    assert inside == pytest.approx(1.0, rel=1e-3)
    assert 20 < outside < 100


@pytest.mark.parametrize(
    ("latents", "covariance", "shrinkage", "reason"),
    [
        (np.ones((2, 3)), np.eye(3), 0.0, "BAD_SHRINKAGE"),
        (np.ones((2, 2)), np.eye(3), 0.1, "BAD_SHAPE"),
        (np.ones((2, 3)), np.zeros((3, 3)), 0.1, "ZERO_COVARIANCE"),
    ],
)
def test_bad_arguments_are_refused(
    latents: np.ndarray, covariance: np.ndarray, shrinkage: float, reason: str
) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        mahalanobis(latents, np.zeros(3), covariance, shrinkage)
    assert caught.value.reason == reason
