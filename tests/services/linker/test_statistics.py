"""Streamed statistics equal those of all rows at once, however rows come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.linker import statistics as module
from services.linker.folds import FoldedStatistics
from services.linker.statistics import SufficientStatistics
from tests.services.linker.pairs import Pairs, make_pairs
from unitscope.errors import DataLossError, InvalidArgumentError


def _accumulate(pairs: Pairs, rows: np.ndarray, cuts: list[int] | None = None) -> SufficientStatistics:
    d, m = pairs.features.shape[1], pairs.latents.shape[1]
    statistics = SufficientStatistics(d, m, sample_size=16)
    for part in np.split(rows, cuts or []):
        statistics.update(pairs.features[part], pairs.latents[part], pairs.classes[part], pairs.row_ids[part])
    return statistics


def _assert_close(first: SufficientStatistics, second: SufficientStatistics) -> None:
    assert first.count == second.count
    exact = {"sizes", "minimum", "maximum", "class_ids", "class_counts"}
    other = second.to_tensors()
    for name, value in first.to_tensors().items():
        if name in exact or name.startswith("sample"):
            np.testing.assert_array_equal(value, other[name], err_msg=name)
        else:
            ours, theirs = value.astype(float), other[name].astype(float)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_moments_equal_numpy(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "block_rows", lambda columns: 32)
    pairs = make_pairs(seed)
    moments = _accumulate(pairs, np.arange(240), [50, 51, 170]).moments
    joined = np.hstack([pairs.features, pairs.latents]).astype(np.float64)
    centred = joined - joined.mean(axis=0)
    assert moments.count == 240
    np.testing.assert_allclose(moments.mean, joined.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(np.triu(moments.scatter), np.triu(centred.T @ centred), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.latent_covariance(), np.cov(pairs.latents.T), rtol=1e-5)
    np.testing.assert_allclose(moments.feature_variance, joined[:, :12].var(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(moments.minimum, joined.min(axis=0))
    np.testing.assert_array_equal(moments.maximum, joined.max(axis=0))


def test_a_large_common_offset_costs_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw float64 sums of squares would keep two digits here; the offset is exact in float32."""
    monkeypatch.setattr(module, "block_rows", lambda columns: 16)
    rng = np.random.default_rng(0)
    small = rng.integers(-64, 64, (300, 4)).astype(np.float64) / 64
    classes, ids = np.zeros(300, np.int64), np.arange(300)
    shifted = SufficientStatistics(4, 4, 0)
    shifted.update((small + 2.0**23)[:, :4].astype(np.float64), small, classes, ids)
    centred = small - small.mean(axis=0)
    np.testing.assert_allclose(
        np.triu(shifted.moments.scatter[:4, :4]), np.triu(centred.T @ centred), rtol=1e-7, atol=1e-6
    )


def test_class_sums_equal_numpy() -> None:
    pairs = make_pairs(4)
    sums = _accumulate(pairs, np.arange(240), [100]).class_sums
    np.testing.assert_array_equal(sums.ids, np.unique(pairs.classes))
    for label, mean, count in zip(sums.ids, sums.means, sums.counts, strict=True):
        rows = pairs.classes == label
        assert count == rows.sum()
        np.testing.assert_allclose(mean[:12], pairs.features[rows].mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(mean[12:], pairs.latents[rows].mean(axis=0), rtol=1e-4, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 240), max_size=6), block=st.integers(1, 300))
def test_the_same_rows_in_other_batches_give_the_same_bytes(cuts: list[int], block: int) -> None:
    pairs = make_pairs(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "block_rows", lambda columns: block)
        whole = _accumulate(pairs, np.arange(240)).to_tensors()
        cut = _accumulate(pairs, np.arange(240), sorted(cuts)).to_tensors()
    for name, value in whole.items():
        assert value.tobytes() == cut[name].tobytes(), name


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 240), min_size=2, max_size=2), seed=st.integers(0, 9))
def test_merging_is_associative_and_commutative(cuts: list[int], seed: int) -> None:
    pairs = make_pairs(6)
    rows = np.random.default_rng(seed).permutation(240)
    a, b, c = (_accumulate(pairs, part) for part in np.split(rows, sorted(cuts)))
    whole = _accumulate(pairs, rows)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        _assert_close(merged, whole)


def test_merging_changes_neither_side_and_the_result_can_go_on() -> None:
    pairs = make_pairs(7)
    left, right = _accumulate(pairs, np.arange(100)), _accumulate(pairs, np.arange(100, 200))
    before = {name: value.copy() for name, value in left.to_tensors().items()}
    seen = left.moments
    kept = seen.scatter.copy()
    merged, empty = left.merge(right), SufficientStatistics(12, 5, 16)
    same = left.merge(empty)
    tail = slice(200, 240)
    batch = (pairs.features[tail], pairs.latents[tail], pairs.classes[tail], pairs.row_ids[tail])
    merged.update(*batch)
    same.update(*batch)
    _assert_close(merged, _accumulate(pairs, np.arange(240)))
    for name, value in left.to_tensors().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    left.update(*batch)
    _assert_close(left, same)
    np.testing.assert_array_equal(seen.scatter, kept)


def test_tensors_round_trip_to_the_same_bytes() -> None:
    statistics = _accumulate(make_pairs(8), np.arange(240))
    tensors = statistics.to_tensors()
    again = SufficientStatistics.from_tensors(tensors).to_tensors()
    assert tensors.keys() == again.keys()
    for name, value in tensors.items():
        assert value.dtype == again[name].dtype
        assert value.tobytes() == again[name].tobytes(), name


def test_folds_round_trip_and_merge() -> None:
    pairs = make_pairs(9)
    whole = pairs.folds(3)
    halves = [FoldedStatistics(3, 12, 5, 64) for _ in range(2)]
    for half, rows in zip(halves, (slice(0, 90), slice(90, 240)), strict=True):
        half.update(pairs.features[rows], pairs.latents[rows], pairs.classes[rows], pairs.row_ids[rows])
    merged = FoldedStatistics.from_tensors(halves[0].merge(halves[1]).to_tensors())
    assert merged.count == 240
    for mine, theirs in zip(merged.folds, whole.folds, strict=True):
        _assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["scatter", "sizes", "class_sums", "sample_row_ids"])
def test_incomplete_tensors_are_refused(name: str) -> None:
    tensors = _accumulate(make_pairs(8), np.arange(24)).to_tensors()
    del tensors[name]
    with pytest.raises(DataLossError, match=name):
        SufficientStatistics.from_tensors(tensors)


def test_a_tensor_of_the_wrong_length_is_refused() -> None:
    tensors = _accumulate(make_pairs(8), np.arange(24)).to_tensors()
    tensors["scatter"] = tensors["scatter"][:-1]
    with pytest.raises(DataLossError, match="scatter has shape"):
        SufficientStatistics.from_tensors(tensors)


def _good() -> dict[str, Any]:
    return {
        "features": np.ones((4, 3), np.float32),
        "latents": np.ones((4, 2), np.float32),
        "classes": np.zeros(4, np.int64),
        "row_ids": np.arange(4),
    }


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("features", np.full((4, 3), np.nan, np.float32), "NON_FINITE_FEATURES"),
        ("features", np.diag([1, np.inf, 1, 1])[:, :3], "NON_FINITE_FEATURES"),
        ("latents", np.full((4, 2), -np.inf, np.float32), "NON_FINITE_LATENTS"),
        ("features", np.ones((4, 2), np.float32), "BAD_SHAPE"),
        ("features", np.ones((4, 3), np.int64), "BAD_SHAPE"),
        ("latents", np.ones((3, 2), np.float32), "BAD_SHAPE"),
        ("classes", np.zeros((4, 1), np.int64), "BAD_SHAPE"),
        ("classes", np.zeros(4), "BAD_SHAPE"),
        ("row_ids", np.arange(-1, 3), "BAD_ROW_IDS"),
    ],
)
def test_a_bad_batch_is_refused_and_changes_nothing(name: str, value: np.ndarray, reason: str) -> None:
    whole, folded = SufficientStatistics(3, 2, 8), FoldedStatistics(2, 3, 2, 8)
    for statistics in (whole, folded):
        statistics.update(**_good())
        with pytest.raises(InvalidArgumentError) as caught:
            statistics.update(**(_good() | {name: value}))
        assert caught.value.reason == reason
        assert statistics.count == 4


def test_the_message_of_a_nan_says_where() -> None:
    batch = _good()
    batch["features"][2, 1] = np.nan
    with pytest.raises(InvalidArgumentError, match=r"features\[2, 1\] is nan: .* finite"):
        SufficientStatistics(3, 2).update(**batch)


def test_too_many_features_are_pointed_to_the_dual_form() -> None:
    with pytest.raises(InvalidArgumentError, match="dual form") as caught:
        SufficientStatistics(8193, 4)
    assert caught.value.reason == "TOO_MANY_FEATURES"


@pytest.mark.parametrize("other", [(3, 2, 9), (4, 2, 8), (3, 1, 8)])
def test_statistics_of_other_sizes_do_not_merge(other: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidArgumentError, match="must be equal"):
        SufficientStatistics(3, 2, 8).merge(SufficientStatistics(*other))


def test_folds_of_another_number_do_not_merge() -> None:
    with pytest.raises(InvalidArgumentError, match="2 and 3 folds"):
        FoldedStatistics(2, 3, 2).merge(FoldedStatistics(3, 3, 2))
