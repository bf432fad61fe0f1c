"""Exact ridge regression from statistics, with the penalty selected by cross-validation.

The penalty is *relative* unless asked otherwise: it counts in units of the mean variance of the
features, times the number of pairs, so that the same number means the same for any classifier,
any scaling of its features and any amount of data:

    minimise  mean |w - A r - b|^2  +  penalty * mean variance * |A|^2.

An *absolute* penalty is scikit-learn's `alpha`: `sum |w - A r - b|^2 + penalty |A|^2`. The
intercept is never penalised, and units that never vary get the weight zero.

Source: Hoerl, Kennard, "Ridge regression", Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg import lapack

from services.linker.mapping import QUANTILE_LEVELS, Affine, Linker
from services.linker.moments import Moments
from services.linker.plausibility import left_out, mahalanobis
from services.linker.spectrum import (
    FoldSpectrum,
    eigensystem,
    fold_spectra,
    merge_all,
    select_upper,
)
from services.linker.statistics import SufficientStatistics
from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]
PenaltyScale = Literal["relative", "absolute"]

PENALTIES = tuple(float(10.0**power) for power in np.arange(-6.0, 3.0))
"""Relative penalties that are tried by default."""


@dataclass(frozen=True)
class Selection:
    """The outcome of cross-validation.

    Attributes:
        penalty: The one of least error; of equals, the largest.
        penalties: (p,) those tried.
        errors: (p,) held-out mean squared error per latent dimension, over all folds.
    """

    penalty: float
    penalties: Array
    errors: Array


def check_penalties(penalties: Sequence[float]) -> Array:
    """Returns penalties as an array.

    Raises:
        InvalidArgumentError: When there is none, or one is negative or not finite.
    """
    values = np.asarray(penalties, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values.min() < 0:
        raise InvalidArgumentError(
            f"penalties {list(penalties)[:20]}: there must be at least one, finite and not negative",
            reason="BAD_PENALTY",
            field="penalties",
        )
    return values


def select_penalty(
    folds: Sequence[Moments],
    penalties: Sequence[float] = PENALTIES,
    scale: PenaltyScale = "relative",
    total: Moments | None = None,
    workers: int = 1,
) -> Selection:
    """Selects a penalty by the error on each fold of the map fitted to the other folds.

    Args:
        folds: Moments of each fold.
        penalties: Candidates, not negative.
        scale: What the candidates count in.
        total: `merge_all(folds)`, when the caller has it.
        workers: Folds decomposed at once.

    Raises:
        InvalidArgumentError: For bad penalties, fewer than two folds or an empty fold.
    """
    values = check_penalties(penalties)
    errors = np.zeros(len(values))
    for spectrum in fold_spectra(folds, total, workers):
        errors += spectrum.squared_errors(_filters(spectrum, values, scale))
    return choose(values, errors / (sum(fold.count for fold in folds) * folds[0].latents))


def _filters(spectrum: FoldSpectrum, penalties: Array, scale: PenaltyScale) -> Array:
    system = spectrum.training
    factor = absolute_factor(system.count, system.mean_variance, scale)
    return system.ridge_filters(penalties * factor)


def absolute_factor(count: int, mean_variance: float, scale: PenaltyScale) -> float:
    """Returns what a penalty is multiplied by to become absolute."""
    return count * mean_variance if scale == "relative" else 1.0


def choose(penalties: Array, errors: Array) -> Selection:
    """Selects the penalty (p,) of least error (p,); of equals, the largest."""
    best = penalties[errors == errors.min()].max()
    return Selection(float(best), penalties, errors)


def solve(moments: Moments, penalty: float, scale: PenaltyScale = "relative") -> Affine:
    """Fits the map to all rows at one penalty.

    Args:
        moments: Of at least one pair.
        penalty: Not negative. With 0, and wherever the penalty drowns in rounding noise, the
            solution of smallest norm.
        scale: What the penalty counts in.

    Raises:
        InvalidArgumentError: For a bad penalty or no pairs.
    """
    check_penalties([penalty])
    if not moments.count:
        raise InvalidArgumentError(
            "there are no pairs to fit to: accumulate some first", reason="NO_PAIRS", field="folds"
        )
    d, active = moments.features, moments.active
    absolute = penalty * absolute_factor(moments.count, moments.mean_variance, scale)
    trace = moments.mean_variance * d * moments.count
    if absolute > np.finfo(np.float64).eps * d * trace:
        weight = _solve_cholesky(moments, active, absolute)
    else:
        system = eigensystem(moments)
        weight = system.weight(system.ridge_filters(np.array([absolute]))[0])
    return Affine(weight, moments.mean[d:] - weight @ moments.mean[:d])


def _solve_cholesky(moments: Moments, active: NDArray[np.bool_], penalty: float) -> Array:
    """Returns the weight (m, d); the penalty is large enough for the matrix to be definite."""
    chosen = np.flatnonzero(active)
    gram = select_upper(moments.scatter[: moments.features, : moments.features], active)
    gram[np.diag_indices(len(chosen))] += penalty
    weight = np.zeros((moments.latents, moments.features))
    factor, status = lapack.dpotrf(gram, lower=0, overwrite_a=1)
    if status != 0:
        raise scipy.linalg.LinAlgError(f"Cholesky factorisation failed at row {status}")
    solution, _ = lapack.dpotrs(factor, moments.cross[chosen], lower=0)
    weight[:, chosen] = solution.T
    return weight


def fit(
    folds: Sequence[SufficientStatistics],
    penalties: Sequence[float] = PENALTIES,
    *,
    scale: PenaltyScale = "relative",
    quantile_levels: Sequence[float] = QUANTILE_LEVELS,
    workers: int = 1,
) -> Linker:
    """Selects the penalty, fits to all folds and describes the pairs.

    Args:
        folds: Statistics of each fold, at least two, none of them empty.
        penalties: Candidates, not negative.
        scale: What they count in.
        quantile_levels: Levels from 0 to 1 of the quantiles that are kept of each unit.
        workers: Folds decomposed at once, in threads; the outcome does not depend on it.

    Raises:
        InvalidArgumentError: For bad penalties, levels or folds.
    """
    levels = np.asarray(quantile_levels, np.float64)
    if levels.ndim != 1 or not len(levels) or levels.min() < 0 or levels.max() > 1:
        raise InvalidArgumentError(
            f"quantile levels {list(quantile_levels)[:20]}: they must be from 0 to 1",
            reason="BAD_QUANTILE",
            field="quantile_levels",
        )
    moments = [fold.moments for fold in folds]
    total = merge_all(moments)
    selection = select_penalty(moments, penalties, scale, total, workers)
    features = np.concatenate([fold.sample.features for fold in folds])
    latents = np.concatenate([fold.sample.latents for fold in folds])
    return assemble(total, selection, scale, (features, latents), levels)


def assemble(
    total: Moments,
    selection: Selection,
    scale: PenaltyScale,
    sample: tuple[NDArray[np.floating], NDArray[np.floating]],
    levels: Array,
) -> Linker:
    """Solves at the selected penalty, and adds what is usual for r and w.

    Args:
        total: Moments of all pairs.
        selection: The outcome of cross-validation.
        scale: What its penalties count in.
        sample: Features (n, d) and latents (n, m) of a sample of the pairs, possibly empty.
        levels: (q,) quantile levels.
    """
    d = total.features
    affine = solve(total, selection.penalty, scale)
    low, high = total.minimum[:d], total.maximum[:d]
    return Linker(
        weight=affine.weight,
        intercept=affine.intercept,
        penalty=selection.penalty,
        penalties=selection.penalties,
        cv_errors=selection.errors,
        count=total.count,
        feature_mean=total.mean[:d].copy(),
        feature_std=np.sqrt(total.feature_variance),
        feature_min=low.copy(),
        feature_max=high.copy(),
        quantile_levels=levels,
        feature_quantiles=_quantiles(sample[0], low, high, levels),
        latent_mean=total.mean[d:].copy(),
        latent_covariance=total.latent_covariance(),
        latent_distance_quantiles=_distance_quantiles(sample[1], total, levels),
    )


def _quantiles(sample: NDArray[np.floating], low: Array, high: Array, levels: Array) -> Array:
    """Returns (q, d) quantiles; without a sample, a straight line from minimum to maximum."""
    if len(sample):
        # Sorting contiguous columns is three times as fast as np.quantile's partitions.
        ordered = np.sort(np.ascontiguousarray(sample.T), axis=1)
        position = levels * (ordered.shape[1] - 1)
        below = np.floor(position).astype(int)
        above = np.ceil(position).astype(int)
        part = position - below
        quantiles = (ordered[:, below] * (1 - part) + ordered[:, above] * part).T
    else:
        quantiles = low + levels[:, None] * (high - low)
    exact = np.where((levels == 0.0)[:, None], low, np.where((levels == 1.0)[:, None], high, quantiles))
    return np.ascontiguousarray(exact)


def _distance_quantiles(sample: NDArray[np.floating], total: Moments, levels: Array) -> Array:
    covariance = total.latent_covariance()
    if not len(sample) or np.trace(covariance) <= 0:
        return np.full(len(levels), np.nan)
    distances = mahalanobis(sample, total.mean[total.features :], covariance)
    quantiles: Array = np.quantile(left_out(distances, total.count), levels)
    return quantiles
