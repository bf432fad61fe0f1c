"""The dual form gives what the primal form gives."""

from __future__ import annotations

import numpy as np
import pytest

from services.linker import dual
from services.linker.dual import fit_dual
from services.linker.ridge import fit
from tests.services.linker.pairs import make_pairs
from unitscope.errors import InvalidArgumentError

PENALTIES = (1e-4, 0.01, 1.0, 10.0)


@pytest.mark.parametrize("scale", ["relative", "absolute"])
@pytest.mark.parametrize("shape", [(150, 12), (40, 90)])
@pytest.mark.parametrize("seed", [0, 1])
def test_dual_equals_primal(seed: int, shape: tuple[int, int], scale: str) -> None:
    pairs = make_pairs(seed, rows=shape[0], d=shape[1], noise=2.0)
    pairs.features[:, 1] = 0.5
    primal = fit(pairs.folds(4, 1000).folds, PENALTIES, scale=scale)  # type: ignore[arg-type]
    other = fit_dual(
        pairs.features,
        pairs.latents,
        pairs.row_ids,
        PENALTIES,
        folds=4,
        scale=scale,  # type: ignore[arg-type]
    )
    for name in primal.to_tensors():
        ours, expected = getattr(other, name), getattr(primal, name)
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7, err_msg=name)


def test_wide_features_are_taken_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = make_pairs(2, rows=40, d=90)
    whole = fit_dual(pairs.features, pairs.latents, pairs.row_ids)
    monkeypatch.setattr(dual, "_CHUNK_FEATURES", 7)
    sliced = fit_dual(pairs.features, pairs.latents, pairs.row_ids)
    np.testing.assert_allclose(sliced.weight, whole.weight, rtol=1e-6, atol=1e-9)


def test_more_features_than_the_primal_form_takes() -> None:
    pairs = make_pairs(3, rows=60, d=30, noise=0.0)
    wide = np.tile(pairs.features, (1, 300))
    linker = fit_dual(wide, pairs.latents, pairs.row_ids, [1e-9])
    assert linker.weight.shape == (5, 9000)
    np.testing.assert_allclose(linker.apply(wide), pairs.latents, atol=1e-2)


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual, "MAX_PAIRS", 10)
    pairs = make_pairs(0, rows=11)
    with pytest.raises(InvalidArgumentError, match="11 pairs are more than the 10") as caught:
        fit_dual(pairs.features, pairs.latents, pairs.row_ids)
    assert caught.value.reason == "TOO_MANY_PAIRS"


def test_nan_is_refused() -> None:
    pairs = make_pairs(0, rows=20)
    pairs.features[3, 3] = np.nan
    with pytest.raises(InvalidArgumentError, match=r"features\[3, 3\]"):
        fit_dual(pairs.features, pairs.latents, pairs.row_ids)


def test_an_empty_fold_is_refused() -> None:
    pairs = make_pairs(0, rows=2)
    with pytest.raises(InvalidArgumentError, match="none may be empty"):
        fit_dual(pairs.features, pairs.latents, pairs.row_ids)
