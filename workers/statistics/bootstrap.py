"""Intervals of means by resampling the images.

Source: percentile bootstrap (B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
13) with the level widened for small samples (T. Hesterberg, "What Teachers Should Know About the
Bootstrap", The American Statistician 69, 2015, section 3.3, "expanded percentile"): with 8 images the plain
interval at 95 % covers about 88 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

RESAMPLES = 2000
"""Resamples of the images."""
BLOCK = 2**22
"""Resampled means that are held at once."""

Doubles = NDArray[np.float64]


def interval(
    effects: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> tuple[Doubles, Doubles]:
    """Lower and upper ends (tests,) of the interval of each mean.

    All tests with the same number of measured images share one set of resamples, so that the interval of
    a test depends, up to rounding, on nothing but its own effects, the seed and the number of resamples.

    Args:
        effects: (tests, images); NaN is not measured and left out.
        resamples: Number of resamples, 1 or more.
        seed: Of the resamples.
        level: Between 0 and 1.

    Returns:
        NaN where fewer than two images are measured.

    Raises:
        ValueError: A number is out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"{resamples} resamples at level {level}; 1 or more, between 0 and 1, are needed")
    lower, upper = np.full((2, len(effects)), np.nan)
    missing = np.isnan(effects)
    counts = (~missing).sum(1)
    for count in np.unique(counts[counts > 1]):
        tests = np.flatnonzero(counts == count)
        weights = _weights(int(count), resamples, seed)
        tail = norm.cdf(np.sqrt(count / (count - 1)) * t.ppf((1 - level) / 2, count - 1))
        block = max(1, BLOCK // resamples)
        for start in range(0, len(tests), block):
            rows = tests[start : start + block]
            # A stable sort of what is missing brings the measured images forward in their order.
            order = np.argsort(missing[rows], axis=1, kind="stable")[:, :count]
            means = np.take_along_axis(effects[rows], order, axis=1) @ weights
            lower[rows], upper[rows] = np.quantile(means, [tail, 1 - tail], axis=1, overwrite_input=True)
    return lower, upper


def _weights(count: int, resamples: int, seed: int) -> Doubles:
    """The share of each of count images in each resample, (count, resamples)."""
    random = np.random.default_rng([seed, count])
    drawn = random.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.ascontiguousarray(drawn.T / count)
