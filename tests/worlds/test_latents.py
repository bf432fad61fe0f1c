"""Factors read off z, and z found for factors."""

import numpy as np
import pytest

from unitscope.errors import InvalidArgumentError
from unitscope.worlds import latents
from unitscope.worlds.factors import NAMES, VALUES, WEIGHTS


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def test_directions_are_orthonormal_and_fixed() -> None:
    found = latents.directions()
    np.testing.assert_allclose(found @ found.T, np.eye(len(NAMES)), atol=1e-12)
    # Values of the published directions: another basis would make the pack's generator unreadable.
    np.testing.assert_allclose(found[0, :3], [-0.00595133, -0.15461659, 0.08705055], atol=1e-6)


def test_standard_normal_latents_have_the_documented_frequencies() -> None:
    count = 20_000
    codes = latents.read_codes(_rng(0).standard_normal((count, latents.Z_DIM)))
    for column, name in enumerate(NAMES):
        seen = np.bincount(codes[:, column], minlength=len(VALUES[name])) / count
        # Normalised z has slightly lighter tails than the Gaussian: 0.005 beside 4 standard errors.
        np.testing.assert_allclose(seen, WEIGHTS[name], atol=0.005 + 4 * 0.5 / count**0.5)


def test_factors_are_independent_in_z() -> None:
    codes = latents.read_codes(_rng(1).standard_normal((20_000, latents.Z_DIM)))
    correlation = np.corrcoef(codes.T) - np.eye(len(NAMES))
    assert np.abs(correlation).max() < 0.04


def test_scale_does_not_matter() -> None:
    z = _rng(2).standard_normal((100, latents.Z_DIM))
    assert (latents.read_codes(z) == latents.read_codes(7 * z)).all()


def test_latents_for_codes_are_read_back_and_look_normal() -> None:
    rng = _rng(3)
    codes = latents.read_codes(rng.standard_normal((4000, latents.Z_DIM)))
    z = latents.latents_for(codes, rng)
    assert (latents.read_codes(z) == codes).all()
    assert (latents.read_codes(z.astype(np.float32)) == codes).all()
    np.testing.assert_allclose(np.mean(z**2, axis=1), 1, atol=1e-6)
    assert abs(z.mean()) < 0.01
    np.testing.assert_allclose(np.cov(z, rowvar=False), np.eye(latents.Z_DIM), atol=0.12)


def test_every_combination_of_values_has_latents() -> None:
    rng = _rng(4)
    codes = np.column_stack([rng.integers(len(VALUES[name]), size=500) for name in NAMES])
    assert (latents.read_codes(latents.latents_for(codes, rng)) == codes).all()


@pytest.mark.parametrize("shape", [(64,), (3, 63), (2, 3, 64)])
def test_z_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\(n, 64\)"):
        latents.read_codes(np.zeros(shape))


def test_codes_out_of_range_are_refused() -> None:
    codes = np.zeros((1, len(NAMES)), dtype=np.int64)
    codes[0, 0] = 9
    with pytest.raises(InvalidArgumentError) as caught:
        latents.latents_for(codes, _rng(0))
    assert caught.value.reason == "UNKNOWN_FACTOR_VALUE"
