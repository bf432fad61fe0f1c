"""Effects of moving a unit, and what many images say of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.statistics.bootstrap import intervals
from workers.statistics.signflip import sign_flip

MIN_IMAGES = 6
"""Images below which nothing is said of an effect: with fewer, a sign-flip test cannot reach 0.05."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """What images say of effects, (units, columns) each; NaN where too few could be measured.

    Attributes:
        images: int64, in how many images the effect could be measured.
        mean: Mean over those images.
        standard_error: Of that mean.
        lower: Lower end of the bootstrap interval of the mean.
        upper: Upper end.
        standardised: The mean over the scale of its column; NaN where the column has none or no direction.
        same_sign: Share of images whose effect has the sign of the mean; NaN where the mean is 0.
        p: Two-sided, of the sign-flip test; NaN where the column has no direction.
    """

    images: NDArray[np.int64]
    mean: Array
    standard_error: Array
    lower: Array
    upper: Array
    standardised: Array
    same_sign: Array
    p: Array


def differences(values: NDArray[np.floating], periods: Array) -> Array:
    """Last step less first step.

    Args:
        values: (units, images, steps, columns); NaN where nothing could be measured.
        periods: (columns,) the length of the circle of circular measures, 0 for others.

    Returns:
        (units, images, columns). Of a circular measure the shorter way round, from minus to plus half its
        period; NaN where either end is NaN.
    """
    change = values[:, :, -1].astype(np.float64) - values[:, :, 0]
    circular = np.flatnonzero(periods > 0)
    half = periods[circular] / 2
    change[..., circular] = (change[..., circular] + half) % periods[circular] - half
    return change


def summarise(
    effects: Array,
    scale: Array,
    *,
    signed: NDArray[np.bool_],
    resamples: int = 2_000,
    seed: int = 0,
    level: float = 0.95,
    min_images: int = MIN_IMAGES,
) -> Summary:
    """Mean, interval and test of each effect over the images in which it could be measured.

    Args:
        effects: (units, images, columns); NaN where not measured.
        scale: (columns,) what effects are divided by to be compared: the standard deviation of each
            measure among base images; NaN where there is none.
        signed: (columns,) whether an effect can go either way. Changes without direction have neither p
            nor a standardised effect: their scale among base images is 0 by definition.
        resamples: Bootstrap resamples of the images.
        seed: Of the resamples, which are the same for all columns.
        level: Of the intervals.
        min_images: With fewer measured images nothing is said.
    """
    units, images, columns = effects.shape
    tests = np.ascontiguousarray(effects.transpose(0, 2, 1)).reshape(-1, images)
    known = np.isfinite(tests)
    count = known.sum(1)
    enough = count >= min_images
    safe = np.where(known, tests, 0.0)
    divisor = np.maximum(count, 1)
    mean = safe.sum(1) / divisor
    spread = np.where(known, tests - mean[:, None], 0.0)
    variance = (spread**2).sum(1) / np.maximum(count - 1, 1)
    lower, upper = (np.full(len(tests), np.nan) for _ in range(2))
    lower[enough], upper[enough] = intervals(tests[enough], resamples, seed, level)
    alike = (np.sign(safe) == np.sign(mean)[:, None]) & known
    p = np.full(len(tests), np.nan)
    directed = enough & np.tile(signed, units)
    p[directed] = sign_flip(tests[directed])

    def shaped(values: Array, valid: NDArray[np.bool_]) -> Array:
        return np.where(valid, values, np.nan).reshape(units, columns)

    means = shaped(mean, enough)
    usable = np.where(signed & (np.nan_to_num(scale) > 0), scale, np.nan)
    return Summary(
        images=count.reshape(units, columns).astype(np.int64),
        mean=means,
        standard_error=shaped(np.sqrt(variance / divisor), enough),
        lower=shaped(lower, enough),
        upper=shaped(upper, enough),
        standardised=means / usable,
        same_sign=shaped(alike.sum(1) / divisor, enough & (mean != 0)),
        p=shaped(p, directed),
    )
