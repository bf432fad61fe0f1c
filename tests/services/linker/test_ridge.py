"""Ridge from statistics against closed forms and scikit-learn on the same folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression, Ridge, RidgeCV
from sklearn.model_selection import PredefinedSplit, cross_val_score

from services.linker.mapping import Affine, Linker
from services.linker.moments import Moments
from services.linker.ridge import fit, select_penalty, solve
from services.linker.spectrum import merge_all
from tests.services.linker.pairs import Pairs, make_pairs
from unitscope.errors import DataLossError, InvalidArgumentError

PENALTIES = (0.0, 1e-3, 0.1, 3.0, 100.0, 1e4)


def _total(pairs: Pairs) -> Moments:
    return merge_all([fold.moments for fold in pairs.folds().folds])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("alpha", [1e-4, 1.0, 50.0])
def test_solve_equals_scikit_learn(seed: int, alpha: float) -> None:
    pairs = make_pairs(seed)
    x, y = pairs.features.astype(np.float64), pairs.latents.astype(np.float64)
    expected = Ridge(alpha=alpha).fit(x, y)
    ours = solve(_total(pairs), alpha, "absolute")
    np.testing.assert_allclose(ours.weight, expected.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.intercept, expected.intercept_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.apply(pairs.features), expected.predict(x), rtol=1e-7, atol=1e-8)


def test_no_penalty_is_least_squares_and_finds_the_true_map() -> None:
    pairs = make_pairs(3, noise=0.0)
    ours = solve(_total(pairs), 0.0)
    np.testing.assert_allclose(ours.weight, pairs.weight, atol=2e-4)
    np.testing.assert_allclose(ours.intercept, pairs.intercept, atol=2e-4)


def test_fewer_rows_than_features_give_the_solution_of_smallest_norm() -> None:
    pairs = make_pairs(4, rows=20, d=40)
    expected = LinearRegression().fit(pairs.features.astype(np.float64), pairs.latents.astype(np.float64))
    ours = solve(_total(pairs), 0.0)
    np.testing.assert_allclose(ours.weight, expected.coef_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_cross_validation_equals_scikit_learn_on_the_same_folds(seed: int) -> None:
    pairs = make_pairs(seed, rows=120, noise=3.0)
    x, y = pairs.features.astype(np.float64), pairs.latents.astype(np.float64)
    split = PredefinedSplit(pairs.fold_of_row())
    ours = select_penalty([f.moments for f in pairs.folds().folds], PENALTIES, "absolute")
    sizes = np.bincount(pairs.fold_of_row())
    for penalty, error in zip(PENALTIES, ours.errors, strict=True):
        model = Ridge(alpha=penalty) if penalty else LinearRegression()
        scores = -cross_val_score(model, x, y, cv=split, scoring="neg_mean_squared_error")
        np.testing.assert_allclose(error, scores @ sizes / sizes.sum(), rtol=1e-8)
    positive = PENALTIES[1:]
    reference = RidgeCV(alphas=positive, cv=split, scoring="neg_mean_squared_error").fit(x, y)
    fitted = fit(pairs.folds().folds, positive, scale="absolute")
    assert fitted.penalty == reference.alpha_
    np.testing.assert_allclose(fitted.weight, reference.coef_, rtol=1e-6, atol=1e-9)


def test_a_relative_penalty_counts_in_rows_times_mean_variance() -> None:
    pairs = make_pairs(5)
    total = _total(pairs)
    absolute = 0.3 * 240 * pairs.features.astype(np.float64).var(axis=0).mean()
    np.testing.assert_allclose(solve(total, 0.3).weight, solve(total, absolute, "absolute").weight, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e4])
def test_a_relative_penalty_does_not_depend_on_the_scale_of_the_features(factor: float) -> None:
    pairs = make_pairs(6)
    scaled = Pairs(
        (pairs.features * np.float32(factor)),
        pairs.latents,
        pairs.classes,
        pairs.row_ids,
        pairs.weight,
        pairs.intercept,
    )
    first, second = (fit(item.folds().folds, PENALTIES) for item in (pairs, scaled))
    assert first.penalty == second.penalty
    np.testing.assert_allclose(first.cv_errors, second.cv_errors, rtol=1e-5)
    np.testing.assert_allclose(first.weight, second.weight * factor, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_unit_gets_no_weight(penalty: float, value: float) -> None:
    pairs = make_pairs(7)
    pairs.features[:, 3] = value
    linker = fit(pairs.folds().folds, [penalty])
    without = np.delete(pairs.features, 3, axis=1)
    expected = solve(_total(Pairs(without, *list(vars(pairs).values())[1:])), penalty * 11 / 12)
    assert not linker.weight[:, 3].any()
    assert all(np.isfinite(value).all() for value in linker.to_tensors().values())
    np.testing.assert_allclose(np.delete(linker.weight, 3, axis=1), expected.weight, rtol=1e-6, atol=1e-9)


def test_a_unit_constant_in_all_folds_but_one_is_no_trouble() -> None:
    pairs = make_pairs(8)
    pairs.features[:, 2] = 1.0
    pairs.features[np.flatnonzero(pairs.fold_of_row() == 1)[:3], 2] = 2.0
    x, y = pairs.features.astype(np.float64), pairs.latents.astype(np.float64)
    ours = select_penalty([f.moments for f in pairs.folds().folds], [1.0], "absolute")
    folds = pairs.fold_of_row()
    total = 0.0
    for fold in range(4):
        model = Ridge(alpha=1.0).fit(x[folds != fold], y[folds != fold])
        total += float(((model.predict(x[folds == fold]) - y[folds == fold]) ** 2).sum())
    np.testing.assert_allclose(ours.errors[0], total / y.size, rtol=1e-8)


def test_all_units_constant_predict_the_mean() -> None:
    pairs = make_pairs(9)
    pairs.features[:] = 2.0
    linker = fit(pairs.folds().folds, PENALTIES)
    assert linker.penalty == max(PENALTIES)
    np.testing.assert_allclose(
        linker.apply(pairs.features[:2]), np.tile(pairs.latents.mean(axis=0), (2, 1)), rtol=1e-5
    )


def test_a_large_offset_of_the_features_does_not_change_the_map() -> None:
    near, far = make_pairs(10), make_pairs(10, offset=1024.0)
    first, second = (fit(item.folds().folds, [0.0]) for item in (near, far))
    np.testing.assert_allclose(first.weight, second.weight, rtol=2e-2, atol=2e-2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), log=st.floats(-4, 4))
def test_the_solution_is_the_minimum(seed: int, log: float) -> None:
    """The gradient of the objective is zero there; no neighbour is better."""
    pairs = make_pairs(seed, rows=60)
    alpha = 10.0**log
    ours = solve(_total(pairs), alpha, "absolute")
    x = pairs.features.astype(np.float64)
    residual = pairs.latents - ours.apply(pairs.features)
    scale = np.abs(residual).max() * np.abs(x).max() * len(x)
    gradient = residual.T @ x - alpha * ours.weight
    np.testing.assert_allclose(gradient, 0, atol=1e-9 * max(scale, 1))
    np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-8 * scale)


def test_refitting_and_fold_order_are_deterministic() -> None:
    pairs = make_pairs(11)
    first, second = (fit(pairs.folds().folds, PENALTIES).to_tensors() for _ in range(2))
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_folds_at_once_give_the_same_as_one_by_one(workers: int) -> None:
    folds = make_pairs(11).folds(5).folds
    first, second = (fit(folds, PENALTIES, workers=count).to_tensors() for count in (1, workers))
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


def test_the_linker_knows_its_pairs() -> None:
    pairs = make_pairs(12)
    linker = fit(pairs.folds(sample_size=400).folds, PENALTIES, quantile_levels=(0, 0.25, 0.5, 1))
    x = pairs.features.astype(np.float64)
    assert linker.count == 240
    np.testing.assert_allclose(linker.feature_mean, x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(linker.feature_std, x.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(linker.feature_min, x.min(axis=0))
    np.testing.assert_array_equal(linker.feature_max, x.max(axis=0))
    np.testing.assert_allclose(linker.latent_mean, pairs.latents.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(linker.latent_covariance, np.cov(pairs.latents.T), rtol=1e-4)
    np.testing.assert_allclose(linker.feature_quantiles, np.quantile(x, (0, 0.25, 0.5, 1), axis=0), rtol=1e-6)
    assert (np.diff(linker.latent_distance_quantiles) > 0).all()


def test_without_a_sample_quantiles_run_straight_from_minimum_to_maximum() -> None:
    pairs = make_pairs(13)
    linker = fit(pairs.folds(sample_size=0).folds, [1.0], quantile_levels=(0, 0.5, 1))
    np.testing.assert_allclose(linker.feature_quantiles[1], (linker.feature_min + linker.feature_max) / 2)
    assert np.isnan(linker.latent_distance_quantiles).all()


def test_a_linker_round_trips() -> None:
    pairs = make_pairs(14)
    linker = fit(pairs.folds().folds, PENALTIES)
    again = Linker.from_tensors(linker.to_tensors())
    np.testing.assert_array_equal(again.apply(pairs.features), linker.apply(pairs.features))
    assert (again.penalty, again.count) == (linker.penalty, linker.count)


@pytest.mark.parametrize("name", ["weight", "intercept", "feature_quantiles", "latent_covariance"])
def test_a_damaged_linker_is_refused(name: str) -> None:
    tensors = fit(make_pairs(14).folds().folds, [1.0]).to_tensors()
    with pytest.raises(DataLossError, match="do not fit"):
        Linker.from_tensors(tensors | {name: tensors[name][:-1]})
    del tensors[name]
    with pytest.raises(DataLossError, match=name):
        Linker.from_tensors(tensors)


@pytest.mark.parametrize("penalties", [[], [-1.0], [np.nan], [1.0, np.inf]])
def test_bad_penalties_are_refused(penalties: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="finite and not negative") as caught:
        fit(make_pairs(0).folds().folds, penalties)
    assert caught.value.reason == "BAD_PENALTY"


def test_an_empty_fold_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="none of them empty") as caught:
        fit(make_pairs(0, rows=2).folds(4).folds)
    assert caught.value.reason == "EMPTY_FOLD"


def test_bad_quantiles_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="from 0 to 1"):
        fit(make_pairs(0).folds().folds, quantile_levels=[0.5, 1.5])


def test_features_of_another_width_are_refused() -> None:
    affine = Affine(np.ones((2, 3)), np.zeros(2))
    with pytest.raises(InvalidArgumentError, match="shape") as caught:
        affine.apply(np.ones((4, 5), np.float32))
    assert caught.value.reason == "BAD_SHAPE"
