import numpy as np
import pytest
from scipy.stats import bootstrap

from workers.statistics import interval


def test_ends_are_near_those_of_scipy_for_many_images():
    data = np.random.default_rng(0).gamma(2, size=200)
    lower, upper = interval(data[None], resamples=20_000)
    expected = bootstrap((data,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert [lower[0], upper[0]] == pytest.approx([expected.low, expected.high], rel=0.01)


@pytest.mark.parametrize("images", [8, 32])
def test_19_of_20_intervals_cover_the_mean(images):
    data = np.random.default_rng(1).standard_normal((2000, images)) + 3
    lower, upper = interval(data)
    covered = ((lower <= 3) & (upper >= 3)).mean()
    assert 0.925 <= covered <= 0.97


def test_missing_images_are_left_out():
    data = np.random.default_rng(2).standard_normal((1, 12))
    holes = np.full((3, 20), np.nan)
    holes[0, 3:15] = holes[2, 8:] = data
    holes[1, 0] = 1
    lower, upper = interval(holes)
    expected = np.concatenate(interval(data))
    for row in (0, 2):
        assert [lower[row], upper[row]] == pytest.approx(expected)
    assert np.isnan([lower[1], upper[1]]).all()


def test_the_seed_alone_decides_the_resamples():
    data = np.random.default_rng(3).standard_normal((5, 10))
    np.testing.assert_array_equal(interval(data, seed=1), interval(data, seed=1))
    assert (np.stack(interval(data, seed=1)) != np.stack(interval(data, seed=2))).any()


def test_blocks_do_not_show(monkeypatch):
    data = np.random.default_rng(4).standard_normal((50, 10))
    together = np.stack(interval(data, resamples=500))
    monkeypatch.setattr("workers.statistics.bootstrap.BLOCK", 1500)
    assert np.stack(interval(data, resamples=500)) == pytest.approx(together)


def test_a_level_is_between_0_and_1():
    with pytest.raises(ValueError, match="level 95"):
        interval(np.zeros((1, 8)), level=95)
