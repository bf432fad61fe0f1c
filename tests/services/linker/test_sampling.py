"""Folds and samples depend on row ids and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.linker.sampling import BottomSample, as_row_ids, assign_folds, priorities
from unitscope.errors import InvalidArgumentError


def _offer(sample: BottomSample, ids: np.ndarray) -> None:
    values = ids[:, None].astype(np.float32)
    sample.offer(values, -values, ids.astype(np.int64) * 10, ids.astype(np.uint64))


def test_folds_are_even_and_independent_of_the_order() -> None:
    ids = np.arange(20_000)
    folds = assign_folds(ids, 5)
    assert stats.chisquare(np.bincount(folds, minlength=5)).pvalue > 1e-3
    shuffled = np.random.default_rng(0).permutation(ids)
    np.testing.assert_array_equal(assign_folds(shuffled, 5), folds[shuffled])


def test_folds_and_sample_are_independent() -> None:
    ids = np.arange(20_000)
    lowest = np.argsort(priorities(ids.astype(np.uint64)))[:4000]
    assert stats.chisquare(np.bincount(assign_folds(lowest, 5), minlength=5)).pvalue > 1e-3


def test_the_sample_is_the_rows_of_lowest_priority_with_their_own_values() -> None:
    ids = np.arange(500)
    sample = BottomSample(64, 1, 1)
    for part in np.array_split(np.random.default_rng(3).permutation(ids), 23):
        _offer(sample, part)
    expected = ids[np.argsort(priorities(ids.astype(np.uint64)))[:64]]
    np.testing.assert_array_equal(sample.row_ids, expected)
    np.testing.assert_array_equal(sample.features[:, 0], expected)
    np.testing.assert_array_equal(sample.latents[:, 0], -expected)
    np.testing.assert_array_equal(sample.classes, expected * 10)


@pytest.mark.parametrize("size", [0, 1, 10, 64])
def test_the_sample_of_a_union_is_the_union_of_samples(size: int) -> None:
    whole, left, right = (BottomSample(size, 1, 1) for _ in range(3))
    _offer(whole, np.arange(40))
    _offer(left, np.arange(13))
    _offer(right, np.arange(13, 40))
    for merged in (left.merge(right), right.merge(left)):
        np.testing.assert_array_equal(merged.row_ids, whole.row_ids)
        np.testing.assert_array_equal(merged.features, whole.features)


def test_the_sample_is_uniform() -> None:
    sample = BottomSample(2000, 1, 1)
    _offer(sample, np.arange(20_000))
    assert stats.kstest(sample.row_ids.astype(float) / 20_000, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "ids", [np.array([1, -1]), np.array([0.5, 1.0]), np.array([1]), np.array([[1], [2]])]
)
def test_bad_row_ids_are_refused(ids: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="non-negative integers") as caught:
        as_row_ids(ids, 2)
    assert caught.value.reason == "BAD_ROW_IDS"


def test_one_fold_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="at least 2"):
        assign_folds(np.arange(4), 1)
