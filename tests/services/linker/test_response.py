import numpy as np
import pytest

from services.linker.response import expected_response
from services.linker.ridge import solve
from services.linker.statistics import SufficientStatistics


def fitted(features, latents, penalty=1e-6):
    n = len(features)
    statistics = SufficientStatistics(features.shape[1], latents.shape[1])
    statistics.update(features, latents, np.zeros(n, np.int64), np.arange(n))
    return statistics.moments, solve(statistics.moments, penalty)


@pytest.mark.parametrize("seed", range(3))
def test_independent_units_do_as_told(seed):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((2000, 6))
    slope, focus = expected_response(*fitted(features, features @ rng.standard_normal((6, 8))))
    np.testing.assert_allclose(slope, 1, atol=0.01)
    np.testing.assert_allclose(focus, 1, atol=0.01)


@pytest.mark.parametrize("copies", [2, 5])
def test_of_copies_each_answers_by_its_share(copies):
    """c copies of one feature share its way in w: told alone, each shows 1/c, and all move alike."""
    rng = np.random.default_rng(0)
    core = rng.standard_normal((4000, 2))
    features = np.column_stack([np.repeat(core[:, :1], copies, axis=1), core[:, 1]])
    features += 1e-4 * rng.standard_normal(features.shape)
    slope, focus = expected_response(*fitted(features, core @ rng.standard_normal((2, 5)), 1e-3))
    np.testing.assert_allclose(slope[:copies], 1 / copies, atol=0.02)
    np.testing.assert_allclose(focus[:copies], 1, atol=0.02)
    assert slope[copies] == pytest.approx(1, abs=0.02)


def test_a_unit_that_w_does_not_know_of_or_that_never_varies_answers_nothing():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((4000, 4))
    features[:, 3] = 2.0
    slope, focus = expected_response(*fitted(features, features[:, :2] @ rng.standard_normal((2, 5))))
    assert abs(slope[2]) < 0.05
    assert slope[3] == focus[3] == 0
