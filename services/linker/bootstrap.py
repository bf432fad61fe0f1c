"""Percentile bootstrap of ratios of sums over rows, paired between methods.

Every row metric of the linker is a ratio `sum(numerator) / sum(denominator)` (a mean is one with
denominators of 1), so a resample is a vector of row counts and 1,000 resamples are one matrix
product. All methods are resampled with the same counts: the interval of a difference is paired.

Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 17.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CHUNK_VALUES = 2**22


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: On the rows themselves.
        lower: Lower end of the interval; NaN when there is none.
        upper: Upper end.
        count: Rows.
    """

    value: float
    lower: float
    upper: float
    count: int


@dataclass(frozen=True)
class Resampled:
    """Ratios of sums, on the rows and on every resample.

    Attributes:
        values: (metrics,) on the rows themselves.
        resamples: (resamples, metrics).
        count: Rows.
        level: Confidence of the intervals, such as 0.95.
    """

    values: Array
    resamples: Array
    count: int
    level: float

    def estimate(self, metric: int, against: int | None = None) -> Estimate:
        """Returns a metric, or its difference to another one on the same resamples."""
        value, resamples = self.values[metric], self.resamples[:, metric]
        if against is not None:
            value, resamples = value - self.values[against], resamples - self.resamples[:, against]
        tail = (1.0 - self.level) / 2.0
        finite = resamples[np.isfinite(resamples)]
        if not len(finite) or self.count < 2:
            return Estimate(float(value), float("nan"), float("nan"), self.count)
        lower, upper = np.quantile(finite, [tail, 1.0 - tail])
        return Estimate(float(value), float(lower), float(upper), self.count)


def resample_ratios(
    numerators: Array, denominators: Array, *, resamples: int, seed: int, level: float
) -> Resampled:
    """Resamples rows with replacement.

    Args:
        numerators: (n, metrics).
        denominators: (n, metrics); where the sum of a resample is zero, the ratio is NaN.
        resamples: Number of resamples.
        seed: Of the counts; the same seed and number of rows give the same counts.
        level: Confidence of the intervals.
    """
    rows = len(numerators)
    generator = np.random.default_rng(seed)
    drawn = np.empty((resamples, numerators.shape[1]))
    step = max(1, _CHUNK_VALUES // max(rows, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        picks = generator.integers(rows, size=(size, rows))
        picks += rows * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * rows).reshape(size, rows)
        weights = counts.astype(np.float64)
        drawn[start : start + size] = _ratio(weights @ numerators, weights @ denominators)
    values = _ratio(numerators.sum(axis=0), denominators.sum(axis=0))
    return Resampled(values, drawn, rows, level)


def _ratio(numerator: Array, denominator: Array) -> Array:
    undefined = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
