"""Ridge regression through the kernel of the rows, for more features than pairs can be summed over.

Feature maps of a convolutional layer have up to a hundred thousand units, whose Gram matrix would
take 80 GB; that of n pairs takes n^2. The solution is the same as that of `services.linker.ridge`
(`A' = R'(RR' + penalty I)^-1 W` on centred rows), the data stay in memory, and n is limited.

Source: Saunders, Gammerman, Vovk, "Ridge Regression Learning Algorithm in Dual Variables", 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from services.linker.batches import Batch
from services.linker.mapping import QUANTILE_LEVELS, Linker
from services.linker.plausibility import left_out, mahalanobis
from services.linker.ridge import (
    PENALTIES,
    PenaltyScale,
    Selection,
    absolute_factor,
    check_penalties,
    choose,
)
from services.linker.sampling import assign_folds
from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]

MAX_PAIRS = 16_384
"""Most pairs: their kernel then takes 2 GiB."""

_CHUNK_FEATURES = 4096


def fit_dual(
    features: NDArray[np.floating],
    latents: NDArray[np.floating],
    row_ids: NDArray[np.integer],
    penalties: Sequence[float] = PENALTIES,
    *,
    folds: int = 5,
    scale: PenaltyScale = "relative",
    quantile_levels: Sequence[float] = QUANTILE_LEVELS,
) -> Linker:
    """Fits a linker to pairs in memory, however many features they have.

    Args:
        features: (n, d), n at most 16,384.
        latents: (n, m).
        row_ids: (n,) unique non-negative integers; they alone decide the folds.
        penalties: Candidates, not negative; as in `services.linker.ridge`.
        folds: Number of folds.
        scale: What the penalties count in.
        quantile_levels: Levels of the quantiles that are kept of each unit.

    Raises:
        InvalidArgumentError: For too many pairs, bad numbers, shapes or penalties, an empty fold.
    """
    rows = len(features)
    if rows > MAX_PAIRS:
        raise InvalidArgumentError(
            f"{rows} pairs are more than the {MAX_PAIRS} that the dual form holds: fit to fewer, or "
            "choose a layer of at most 8192 units, for which any number of pairs can be streamed",
            reason="TOO_MANY_PAIRS",
            field="features",
            pairs=rows,
            limit=MAX_PAIRS,
        )
    sizes = (features.shape[-1], latents.shape[-1])
    batch = Batch.checked(features, latents, np.zeros(rows, np.int64), row_ids, sizes)
    values = check_penalties(penalties)
    fold_of_row = assign_folds(batch.row_ids, folds)
    counts = np.bincount(fold_of_row, minlength=folds)
    if counts.min() < 1:
        raise InvalidArgumentError(
            f"the folds hold {counts.tolist()} pairs: none may be empty; give more pairs",
            reason="EMPTY_FOLD",
            field="features",
        )
    kernel, varying = _kernel(features)
    targets = latents.astype(np.float64)
    selection = _select(kernel, targets, fold_of_row, values, scale, sizes[0])
    return _assemble(features, targets, kernel, selection, scale, np.asarray(quantile_levels), varying)


def _kernel(features: NDArray[np.floating]) -> tuple[Array, NDArray[np.bool_]]:
    """Returns the kernel (n, n) of centred rows, and which units (d,) vary."""
    kernel = np.zeros((len(features), len(features)))
    varying = features.min(axis=0) < features.max(axis=0)
    for start in range(0, features.shape[1], _CHUNK_FEATURES):
        chunk = features[:, start : start + _CHUNK_FEATURES].astype(np.float64)
        chunk -= chunk.mean(axis=0)
        chunk[:, ~varying[start : start + _CHUNK_FEATURES]] = 0.0
        kernel += chunk @ chunk.T
    return kernel, varying


def _decompose(kernel: Array) -> tuple[Array, Array, float]:
    """Returns eigenvalues, eigenvectors, and up to where an eigenvalue is rounding noise."""
    values, vectors = scipy.linalg.eigh(kernel, driver="evd", check_finite=False)
    floor = float(np.finfo(np.float64).eps * len(values) * max(values[-1], 0.0))
    return np.maximum(values, 0.0), vectors, floor


def _filters(values: Array, penalty: float, floor: float) -> Array:
    # An axis without variance must stay out whatever the penalty: a centred kernel has one always.
    return np.divide(1.0, values + penalty, out=np.zeros_like(values), where=values > floor)


def _select(
    kernel: Array,
    targets: Array,
    fold_of_row: NDArray[np.int64],
    penalties: Array,
    scale: PenaltyScale,
    features: int,
) -> Selection:
    errors = np.zeros(len(penalties))
    for fold in np.unique(fold_of_row):
        train, held = np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)
        inner, outer = kernel[np.ix_(train, train)], kernel[np.ix_(held, train)]
        # Move the origin from the mean of all rows to that of the training rows.
        outer = outer - outer.mean(axis=1)[:, None] - inner.mean(axis=0) + inner.mean()
        inner = inner - inner.mean(axis=0) - inner.mean(axis=1)[:, None] + inner.mean()
        mean = targets[train].mean(axis=0)
        values, vectors, floor = _decompose(inner)
        projected = vectors.T @ (targets[train] - mean)
        seen = outer @ vectors
        truth = targets[held] - mean
        unit = absolute_factor(len(train), _mean_variance(inner, features), scale)
        for index, penalty in enumerate(penalties):
            factors = _filters(values, penalty * unit, floor)
            error = truth - seen @ (factors[:, None] * projected)
            errors[index] += np.einsum("nm,nm->", error, error)
    return choose(penalties, errors / targets.size)


def _mean_variance(kernel: Array, features: int) -> float:
    return float(np.trace(kernel)) / (len(kernel) * features)


def _assemble(
    features: NDArray[np.floating],
    targets: Array,
    kernel: Array,
    selection: Selection,
    scale: PenaltyScale,
    levels: Array,
    varying: NDArray[np.bool_],
) -> Linker:
    rows = len(features)
    values, vectors, floor = _decompose(kernel)
    unit = absolute_factor(rows, _mean_variance(kernel, features.shape[1]), scale)
    factors = _filters(values, selection.penalty * unit, floor)
    latent_mean = targets.mean(axis=0)
    centred = targets - latent_mean
    duals = vectors @ (factors[:, None] * (vectors.T @ centred))
    feature_mean = features.mean(axis=0, dtype=np.float64)
    # The dual variables sum to zero over rows, so that the rows need no centring here.
    weight = duals.T @ features.astype(np.float64)
    weight[:, ~varying] = 0.0
    covariance = centred.T @ centred / max(rows - 1, 1)
    distances = left_out(mahalanobis(targets, latent_mean, covariance), rows)
    return Linker(
        weight=weight,
        intercept=latent_mean - weight @ feature_mean,
        penalty=selection.penalty,
        penalties=selection.penalties,
        cv_errors=selection.errors,
        count=rows,
        feature_mean=feature_mean,
        feature_std=features.std(axis=0, dtype=np.float64),
        feature_min=features.min(axis=0).astype(np.float64),
        feature_max=features.max(axis=0).astype(np.float64),
        quantile_levels=levels,
        feature_quantiles=np.quantile(features.astype(np.float64), levels, axis=0),
        latent_mean=latent_mean,
        latent_covariance=covariance,
        latent_distance_quantiles=np.quantile(distances, levels),
    )
