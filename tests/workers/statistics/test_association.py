import numpy as np
import pytest
from scipy.stats import linregress

from workers.statistics import explained

RNG = np.random.default_rng(3)


def test_one_cause_is_the_square_of_its_correlation():
    x, y = RNG.standard_normal((2, 50))
    y += 0.5 * x
    share, p = explained(x[:, None], y[:, None])
    line = linregress(x, y)
    assert share[0] == pytest.approx(1 - (1 - line.rvalue**2) * 49 / 48)
    assert p[0] == pytest.approx(line.pvalue)


def test_causes_that_repeat_others_or_never_vary_count_for_nothing():
    x = RNG.standard_normal((40, 2))
    y = x @ np.array([[1.0], [2.0]]) + RNG.standard_normal((40, 1))
    more = np.column_stack([x, x[:, 0] * 3 + 1, np.full(40, 7.0)])
    assert explained(more, y)[0] == pytest.approx(explained(x, y)[0])


def test_what_is_made_of_the_causes_is_explained_and_noise_is_not():
    x = RNG.standard_normal((300, 5))
    y = np.column_stack([x @ np.arange(5.0), RNG.standard_normal(300), np.zeros(300)])
    share, p = explained(x, y)
    assert share[0] == pytest.approx(1)
    assert p[0] < 1e-50
    assert abs(share[1]) < 0.1
    assert np.isnan([share[2], p[2]]).all()


def test_p_is_uniform_where_nothing_goes_together():
    p = explained(RNG.standard_normal((60, 4)), RNG.standard_normal((60, 2_000)))[1]
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_too_few_units_say_nothing():
    share, p = explained(RNG.standard_normal((12, 4)), RNG.standard_normal((12, 2)))
    assert np.isnan(share).all()
    assert np.isnan(p).all()
