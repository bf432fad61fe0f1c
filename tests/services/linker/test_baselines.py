"""Baselines against straightforward computations on the rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from services.linker.baselines import (
    ClassMeans,
    NearestNeighbour,
    component_candidates,
    fit_component_ridge,
)
from services.linker.ridge import solve
from services.linker.spectrum import merge_all
from tests.services.linker.pairs import make_pairs
from unitscope.errors import InvalidArgumentError


def test_class_means() -> None:
    pairs = make_pairs(0)
    predicted = ClassMeans.of(pairs.folds().folds).predict(pairs.classes)
    for label in np.unique(pairs.classes):
        rows = pairs.classes == label
        expected = pairs.latents[rows].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(predicted[rows], np.tile(expected, (rows.sum(), 1)), rtol=1e-9)


def test_a_class_without_training_pairs_is_refused() -> None:
    means = ClassMeans.of(make_pairs(0).folds().folds)
    with pytest.raises(InvalidArgumentError, match=r"class 99 was not among .* 1, 8, 15") as caught:
        means.predict(np.array([1, 99]))
    assert caught.value.reason == "UNKNOWN_CLASS"


@pytest.mark.parametrize("seed", [0, 1])
def test_nearest_neighbour(seed: int) -> None:
    pairs, queries = make_pairs(seed, rows=100), make_pairs(seed + 50, rows=30)
    pairs.features[:, 4] = 7.0
    predicted = NearestNeighbour.of(pairs.folds(4, 400).folds).predict(queries.features)
    deviation = pairs.features.std(axis=0)
    deviation[4] = np.inf
    for query, latent in zip(queries.features, predicted, strict=True):
        nearest = (((pairs.features - query) / deviation) ** 2).sum(axis=1).argmin()
        np.testing.assert_array_equal(latent, pairs.latents[nearest])


def test_no_sample_no_neighbour() -> None:
    with pytest.raises(InvalidArgumentError, match="sample_size above 0"):
        NearestNeighbour.of(make_pairs(0).folds(4, 0).folds)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_component_ridge_equals_scikit_learn(seed: int) -> None:
    pairs = make_pairs(seed, rows=120, noise=4.0)
    x, y = pairs.features.astype(np.float64), pairs.latents.astype(np.float64)
    folds, counts, alphas = pairs.fold_of_row(), (1, 3, 6), (0.1, 10.0)
    ours = fit_component_ridge([f.moments for f in pairs.folds().folds], counts, alphas, "absolute")
    expected = np.zeros((3, 2))
    for fold in range(4):
        train, held = folds != fold, folds == fold
        for i, count in enumerate(counts):
            pca = PCA(count, svd_solver="full").fit(x[train])
            for j, alpha in enumerate(alphas):
                model = Ridge(alpha).fit(pca.transform(x[train]), y[train])
                residual = model.predict(pca.transform(x[held])) - y[held]
                expected[i, j] += (residual**2).sum() / y.size
    np.testing.assert_allclose(ours.cv_errors, expected, rtol=1e-8)
    best = np.unravel_index(expected.argmin(), expected.shape)
    assert (ours.components, ours.penalty) == (counts[best[0]], alphas[best[1]])
    pca = PCA(ours.components, svd_solver="full").fit(x)
    model = Ridge(ours.penalty).fit(pca.transform(x), y)
    np.testing.assert_allclose(
        ours.apply(pairs.features), model.predict(pca.transform(x)), rtol=1e-6, atol=1e-7
    )


def test_all_components_are_the_linker() -> None:
    folds = [fold.moments for fold in make_pairs(3).folds().folds]
    ours = fit_component_ridge(folds, [12], [0.1])
    np.testing.assert_allclose(ours.weight, solve(merge_all(folds), 0.1).weight, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("features", "expected"), [(1, (1,)), (2, (1,)), (8, (1, 2, 4)), (9, (1, 2, 4))])
def test_candidates_are_at_most_half_of_the_features(features: int, expected: tuple[int, ...]) -> None:
    assert component_candidates(features) == expected


def test_bad_components_are_refused() -> None:
    folds = [fold.moments for fold in make_pairs(3).folds().folds]
    with pytest.raises(InvalidArgumentError, match="at least 1"):
        fit_component_ridge(folds, [0])
