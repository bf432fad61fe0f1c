import numpy as np
import pytest
from scipy.stats import binomtest

from workers.statistics import wilson


@pytest.mark.parametrize(("hits", "trials"), [(0, 8), (3, 8), (8, 8), (1, 1), (190, 200)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_ends_are_those_of_scipy(hits, trials, level):
    expected = binomtest(hits, trials).proportion_ci(level, "wilson")
    lower, upper = wilson(hits, trials, level)
    assert [lower, upper] == pytest.approx([expected.low, expected.high])


def test_the_ends_of_none_and_all_are_exact():
    lower, upper = wilson([0, 7], [7, 7])
    assert lower[0] == 0
    assert upper[1] == 1
    assert lower[1] > 0.5 > upper[0]


def test_without_trials_nothing_is_known():
    lower, upper = wilson([0, 1], [0, 2])
    assert np.isnan([lower[0], upper[0]]).all()
    assert np.isfinite([lower[1], upper[1]]).all()


@pytest.mark.parametrize(("hits", "trials", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_impossible_counts_are_refused(hits, trials, level):
    with pytest.raises(ValueError, match=r"level is|successes must be"):
        wilson(hits, trials, level)
