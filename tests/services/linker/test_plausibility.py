"""Mahalanobis distances against the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from services.linker.plausibility import mahalanobis
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
