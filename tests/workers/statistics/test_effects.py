import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import circstd

from workers.statistics import benjamini_hochberg, differences, interval, scales, sign_flip, summarise


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def test_differences_are_last_minus_first_the_short_way_round():
    values = np.zeros((1, 2, 3, 3), np.float32)
    values[0, 0, 0], values[0, 0, -1] = (1, 350, 170), (4, 20, 15)
    values[0, 1, 0], values[0, 1, -1] = (5, 20, 15), (1, 350, 170)
    values[:, :, 1] = 1e9
    change = differences(values, np.array([0, 360, 180]))
    assert change.dtype == np.float64
    assert change[0].tolist() == [[3, 30, 25], [-4, -30, -25]]


def test_differences_are_missing_where_either_end_is():
    values = np.zeros((1, 4, 3, 1))
    values[0, 0, 0] = values[0, 1, 1] = values[0, 2, 2] = np.nan
    assert np.isnan(differences(values, np.zeros(1)))[0, :, 0].tolist() == [True, False, True, False]


@settings(max_examples=50)
@given(st.floats(-720, 720), st.floats(-720, 720))
@example(180.00000000000003, 0.0)  # the rounded remainder is a whole circle
def test_circular_differences_stay_within_half_a_circle(first, last):
    change = differences(np.array([[[[first], [last]]]]), np.array([360.0]))[0, 0, 0]
    assert -180 <= change < 180
    assert np.cos(np.radians(change)) == pytest.approx(np.cos(np.radians(last - first)), abs=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 1, 4), (2, 3, 4), (2, 3, 2, 5)])
def test_values_without_steps_have_no_differences(shape):
    with pytest.raises(ValueError, match="are needed"):
        differences(np.zeros(shape), np.zeros(4))


def test_scales_are_standard_deviations_without_what_is_missing():
    values = normal(0, 40, 3)
    values[::2, 1] = np.nan
    values[1:, 2] = np.nan
    found = scales(values, np.zeros(3))
    assert found[:2] == pytest.approx([values[:, 0].std(ddof=1), values[1::2, 1].std(ddof=1)])
    assert np.isnan(found[2])


def test_a_constant_has_no_scale_and_rounding_is_none():
    values = np.full((7, 2), 0.1)
    values[::2, 1] = np.nextafter(np.float32(0.1), np.float32(1))
    assert scales(values, np.zeros(2)).tolist() == [0, 0]
    assert np.isnan(summarise(normal(9, 1, 8, 2), scales(values, np.zeros(2))).standardised).all()


def test_scales_of_circles_do_not_depend_on_where_the_circle_is_cut():
    spread = normal(1, 500) * 6
    values = np.stack([spread + 100, np.mod(spread, 360), np.mod(spread + 3, 180)], axis=1)
    found = scales(values, np.array([0, 360, 180]))
    assert found == pytest.approx(np.full(3, spread.std(ddof=1)), rel=1e-3)
    assert found[1] == pytest.approx(circstd(values[:, 1], high=360), rel=0.02)


def test_a_summary_is_that_of_each_column_by_itself():
    effects = normal(2, 3, 32, 4) + np.array([0, 0.5, 1, 2])
    effects[1, :20, 2] = np.nan
    summary = summarise(effects, np.array([1, 2, 4, 0]))
    assert summary.images.tolist() == [[32] * 4, [32, 32, 12, 32], [32] * 4]
    for unit in range(3):
        for column in range(4):
            one = effects[unit, :, column]
            one = one[~np.isnan(one)]
            at = (unit, column)
            assert summary.mean[at] == pytest.approx(one.mean())
            assert summary.standard_error[at] == pytest.approx(one.std(ddof=1) / np.sqrt(len(one)))
            assert summary.p[at] == sign_flip(one[None])[0]
            agree = (one > 0).mean() if one.mean() > 0 else (one < 0).mean()
            assert summary.same_sign[at] == pytest.approx(agree)
            assert summary.lower[at] < summary.mean[at] < summary.upper[at]
            assert (summary.lower[at], summary.upper[at]) == pytest.approx(
                [end[0] for end in interval(one[None])]
            )
    assert summary.standardised[:, :3] == pytest.approx(summary.mean[:, :3] / [1, 2, 4])
    assert np.isnan(summary.standardised[:, 3]).all(), "a column that never varies has no scale"


def test_too_few_images_are_marked_and_not_zeroed():
    effects = normal(3, 1, 10, 2)
    effects[0, 6:, 0] = effects[0, 5:, 1] = np.nan
    summary = summarise(effects, np.ones(2), min_images=6)
    assert summary.images.tolist() == [[6, 5]]
    for name in ("mean", "standard_error", "lower", "upper", "standardised", "same_sign", "p"):
        assert np.isnan(getattr(summary, name)[0]).tolist() == [False, True], name


def test_no_effect_at_all_has_p_1():
    summary = summarise(np.zeros((1, 8, 1)), np.ones(1))
    values = [getattr(summary, name)[0, 0] for name in ("mean", "lower", "upper", "same_sign", "p")]
    assert values == [0, 0, 0, 0, 1]


def test_change_without_direction_has_no_p():
    summary = summarise(np.abs(normal(4, 2, 8, 2)), np.ones(2), signed=np.array([True, False]))
    assert np.isnan(summary.p).tolist() == [[False, True]] * 2
    assert np.isnan(summary.same_sign).tolist() == [[False, True]] * 2
    assert not np.isnan(summary.mean).any()


def test_without_resamples_there_is_no_interval():
    summary = summarise(normal(5, 2, 8, 2), np.ones(2), resamples=0)
    assert np.isnan(summary.lower).all()
    assert not np.isnan(summary.p).any()


def test_shapes_and_numbers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="scale"):
        summarise(np.zeros((1, 8, 2)), np.ones(3))
    with pytest.raises(ValueError, match="min_images is 1"):
        summarise(np.zeros((1, 8, 2)), np.ones(2), min_images=1)


def test_signs_flipped_at_random_per_image_find_nothing_in_95_of_100_tables():
    # As a perturbation with a random sign does: all columns of an image together; they are correlated.
    random, runs, found = np.random.default_rng(6), 200, 0
    mixing = normal(7, 12, 30)
    for _ in range(runs):
        effects = (random.standard_normal((20, 16, 12)) @ mixing) * random.gamma(1, size=(20, 16, 1)) + 0.5
        effects *= random.choice([-1.0, 1.0], (20, 16, 1))
        effects[:, :6, ::5] = np.nan
        q = benjamini_hochberg(summarise(effects, np.ones(30), resamples=0).p)
        found += bool((q < 0.05).any())
    # 5 % and 2.3 standard errors: exceeded by chance in 1 of 100 seeds at most.
    assert found / runs <= 0.05 + 2.33 * np.sqrt(0.05 * 0.95 / runs)


def test_a_real_effect_in_such_a_table_is_found():
    random = np.random.default_rng(8)
    effects = random.standard_normal((20, 32, 30))
    effects[3, :, 7] += 1.5
    q = benjamini_hochberg(summarise(effects, np.ones(30), resamples=0).p)
    assert q[3, 7] < 0.01
    assert (q < 0.05).sum() <= 2


def test_thousands_of_images_are_tested_on_as_many_as_the_test_takes():
    effects = normal(3, 1, 2_500, 2) + np.array([0.5, 0.0])
    found = summarise(effects, np.ones(2), resamples=50)
    assert found.images.tolist() == [[2_500, 2_500]]
    assert found.mean[0] == pytest.approx(effects[0].mean(0))
    assert found.p[0, 0] < 1e-6
    assert found.p[0, 1] > 0.001
