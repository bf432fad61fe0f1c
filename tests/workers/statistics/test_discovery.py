import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from workers.statistics import benjamini_hochberg, selectivity, shares_by_part


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_q_is_that_of_scipy(values):
    assert benjamini_hochberg(np.array(values)) == pytest.approx(false_discovery_control(values))


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 100))
def test_tests_that_were_not_carried_out_count_as_p_1(values, others):
    q = benjamini_hochberg(np.array(values), total=len(values) + others)
    assert q == pytest.approx(false_discovery_control([*values, *[1.0] * others])[: len(values)])


def test_missing_tests_stay_missing_and_count_for_nothing():
    p = np.array([[0.01, np.nan], [0.5, 0.02]])
    q = benjamini_hochberg(p)
    assert np.isnan(q).tolist() == [[False, True], [False, False]]
    assert q[~np.isnan(q)] == pytest.approx(false_discovery_control([0.01, 0.5, 0.02]))
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()


def test_what_is_no_p_or_too_small_a_total_is_refused():
    with pytest.raises(ValueError, match=r"1\.5"):
        benjamini_hochberg(np.array([0.1, 1.5]))
    with pytest.raises(ValueError, match="total is 1"):
        benjamini_hochberg(np.array([0.1, 0.5]), total=1)


def test_selectivity_is_the_share_of_the_sizes():
    standardised = np.array([[1, -3, np.nan, 0], [0, 0, 0, np.nan], [np.nan, 0, -2, 0]])
    shares = selectivity(standardised)
    assert shares.tolist() == [[0.25, 0.75, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert shares_by_part(shares, np.array([0, 0, 1, -1])).tolist() == [[1, 0], [0, 0], [0, 1]]
    assert shares_by_part(shares, np.array([0, 2, 2, 2]), 4).tolist()[0] == [0.25, 0, 0.75, 0]


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one for each"):
        shares_by_part(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match="parts 0 to 3 of 2"):
        shares_by_part(np.zeros((2, 3)), np.array([0, 1, 3]), 2)
