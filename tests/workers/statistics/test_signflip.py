from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from workers.statistics import sign_flip


def brute_force(effects):
    """The share of all sign patterns whose sum is at least as large; ties within rounding count."""
    signs = np.array(list(product([-1, 1], repeat=effects.shape[1])))
    sums = np.abs(np.abs(effects) @ signs.T)
    return (sums >= np.abs(effects.sum(1))[:, None] * (1 - 1e-9)).mean(1)


@pytest.mark.parametrize("images", [1, 2, 5, 8, 12])
def test_whole_numbers_that_the_grid_keeps_are_tested_exactly(images):
    # A sum of sizes that divides the grid leaves them whole: rounding moves nothing.
    random = np.random.default_rng(images)
    effects = random.integers(-9, 10, (60, images)).astype(float)
    effects[:, 0] = 64 - np.abs(effects[:, 1:]).sum(1)
    effects = effects[effects[:, 0] > 0]
    assert len(effects) or images == 12
    assert sign_flip(effects) == pytest.approx(brute_force(effects))


@pytest.mark.parametrize("images", [6, 10, 13])
def test_real_numbers_come_near_to_all_patterns(images):
    effects = np.random.default_rng(images).standard_normal((100, images)) + 0.4
    # One pair of patterns that nearly ties may fall to the other side.
    assert np.abs(sign_flip(effects) - brute_force(effects)).max() <= max(0.01, 2.0 ** (1 - images))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(1e-290, 1e290))
def test_neither_scale_nor_order_nor_common_sign_matters(seed, images, scale):
    random = np.random.default_rng(seed)
    effects = random.standard_normal((1, images)) + 0.3
    p = sign_flip(effects)[0]
    assert 2.0 ** (1 - images) * (1 - 1e-12) <= p <= 1
    assert sign_flip(-effects)[0] == p
    assert sign_flip(random.permutation(effects, axis=1))[0] == p
    assert sign_flip(effects * 2.0 ** int(np.log2(scale) / 2))[0] == p


def test_p_of_all_patterns_of_one_sample_is_valid():
    # Over all 2^n flips of one sample, p <= alpha occurs in at most alpha of them: exactly.
    sizes = np.random.default_rng(1).gamma(0.3, size=10)
    signs = np.array(list(product([-1, 1], repeat=10)))
    p = sign_flip(sizes * signs)
    for alpha in np.unique(p):
        assert (p <= alpha).mean() == pytest.approx(alpha)


@pytest.mark.parametrize("images", [8, 32])
def test_p_is_uniform_under_the_null_and_fine_grained(images):
    random = np.random.default_rng(2)
    effects = random.gamma(0.5, size=(4000, images)) * random.choice([-1, 1], (4000, images))
    p = sign_flip(effects)
    for alpha in (0.01, 0.05, 0.2, 0.5):
        hits = int((p <= alpha).sum())
        assert binomtest(hits, 4000, alpha, alternative="greater").pvalue > 1e-3
        if images == 32:
            assert hits >= 0.8 * alpha * 4000, "a valid test that finds nothing is of no use"


def test_many_images_approach_the_normal_distribution():
    effects = np.random.default_rng(3).standard_normal((300, 64)) + 0.2
    z = np.abs(effects.sum(1)) / np.sqrt((effects**2).sum(1))
    assert np.abs(sign_flip(effects) - 2 * norm.sf(z)).max() < 0.012


def test_the_least_p_halves_with_every_image():
    for images in (3, 10, 50, 200):
        effects = np.random.default_rng(images).uniform(1, 1.5, (1, images))
        assert sign_flip(effects)[0] == pytest.approx(2.0 ** (1 - images))


def test_what_is_missing_or_zero_counts_for_nothing():
    effects = np.full((5, 9), np.nan)
    effects[0, 2:8] = effects[1, :6] = [1, 2, -1, 3, 2, 2]
    effects[1, 6:] = 0
    effects[2, :4] = 0
    effects[4, 0] = -3
    p = sign_flip(effects)
    assert p[0] == p[1] == pytest.approx(brute_force(effects[:1, 2:8])[0])
    assert p[2] == 1
    assert np.isnan(p[3])
    assert p[4] == 1


def test_infinite_effects_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="infinite"):
        sign_flip(np.array([[1.0, np.inf]]))
    with pytest.raises(ValueError, match="at most 1000"):
        sign_flip(np.zeros((1, 1001)))
    with pytest.raises(ValueError, match="tests"):
        sign_flip(np.zeros(3))


def test_no_tests_have_no_p():
    assert sign_flip(np.zeros((0, 8))).shape == (0,)
