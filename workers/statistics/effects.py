"""What moving units does: effects, and what many images say about each.

An effect is the last minus the first step of a measure (or of a logit) on one image. Arrays are (units,
images, columns); a column is one measure of one part, or one logit. NaN is not measured, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.statistics import bootstrap
from workers.statistics.signflip import MAX_IMAGES, sign_flip
from workers.statistics.subsets import spaced

MIN_IMAGES = 6
"""Least images on which an effect must be measured: with 5, no p falls below 0.06."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Summary:
    """What all images say, (units, columns) each.

    Attributes:
        images: Number of images measured, int64.
        mean: Mean effect, in the column's unit.
        standard_error: Standard deviation of the effect over the square root of the images.
        lower: Lower end of the interval of the mean, `workers.statistics.bootstrap.interval`.
        upper: Upper end.
        standardised: Mean effect over the column's scale; NaN where the scale is not positive.
        same_sign: Share of images whose effect has the sign of the mean, 0 to 1; 0 where the mean is 0,
            NaN where unsigned.
        p: Two-sided p of the sign-flip test, on at most `signflip.MAX_IMAGES` images at even distances; NaN
            where unsigned.
    """

    images: NDArray[np.int64]
    mean: Doubles
    standard_error: Doubles
    lower: Doubles
    upper: Doubles
    standardised: Doubles
    same_sign: Doubles
    p: Doubles


def differences(values: NDArray[Any], periods: NDArray[Any]) -> Doubles:
    """Last minus first step, (units, images, columns).

    Args:
        values: (units, images, steps, columns), at least two steps.
        periods: (columns,) circles of circular columns, whose differences lie in [-period / 2, period / 2);
            0 for all others.

    Raises:
        ValueError: The shapes do not fit, or there is no change to take.
    """
    if values.ndim != 4 or values.shape[2] < 2 or np.shape(periods) != values.shape[3:]:
        raise ValueError(
            f"values are {values.shape}, periods {np.shape(periods)}; (units, images, 2 or more steps, "
            "columns) and (columns,) are needed"
        )
    change = values[:, :, -1].astype(np.float64) - values[:, :, 0]
    return _wrapped(change, np.asarray(periods, np.float64))


def scales(values: NDArray[Any], periods: NDArray[Any]) -> Doubles:
    """Standard deviation of every column over base images, (columns,).

    Args:
        values: (images, columns); NaN is left out.
        periods: (columns,) as for `differences`. The deviations of circular columns are taken from their
            circular mean (K. V. Mardia and P. E. Jupp, "Directional Statistics", section 2.2).

    Returns:
        Degrees of freedom: images - 1. NaN where fewer than two images are measured; 0 where they differ
        by no more than float32 rounds.
    """
    around = np.asarray(periods, np.float64)
    rows = values.astype(np.float64)
    measured = ~np.isnan(rows)
    count = measured.sum(0)
    turn = 2 * np.pi / np.where(around > 0, around, 1)
    angle = np.where(measured, rows, 0) * turn
    direction = np.arctan2((np.sin(angle) * measured).sum(0), (np.cos(angle) * measured).sum(0)) / turn
    level = np.where(measured, rows, 0).sum(0) / np.maximum(count, 1)
    off = _wrapped(rows - np.where(around > 0, direction, level), around)
    squares = np.where(measured, off, 0) ** 2
    spread = np.sqrt(squares.sum(0) / np.where(count > 1, count - 1, np.nan))
    rounding = np.finfo(np.float32).eps * np.abs(np.where(measured, rows, 0)).max(0, initial=0)
    kept: Doubles = np.where(spread <= rounding, 0.0, spread)
    return kept


def summarise(
    effects: NDArray[Any],
    scale: NDArray[Any],
    *,
    signed: NDArray[np.bool_] | None = None,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    min_images: int = MIN_IMAGES,
) -> Summary:
    """Summarises the effects of every unit on every column.

    Effects that are exactly 0 on all images have mean 0 and p 1. Sources: B. Efron and R. Tibshirani, "An
    Introduction to the Bootstrap", chapter 13; R. A. Fisher, "The Design of Experiments", section 21.

    Args:
        effects: (units, images, columns).
        scale: (columns,) of `scales`.
        signed: (columns,) False for measures of change without a direction, which get neither p nor
            share of signs; all are signed if left out.
        resamples: Resamples of the images; 0 for no interval.
        seed: Of the resamples.
        level: Of the interval, between 0 and 1.
        min_images: With fewer images measured everything is NaN but their number.

    Raises:
        ValueError: The shapes do not fit, or a number is out of range.
    """
    columns = effects.shape[-1]
    signs = np.ones(columns, bool) if signed is None else np.asarray(signed, bool)
    if effects.ndim != 3 or np.shape(scale) != (columns,) or signs.shape != (columns,):
        raise ValueError(
            f"effects are {effects.shape}, scale {np.shape(scale)}, signed {signs.shape}; "
            "(units, images, columns) and (columns,) are needed"
        )
    if min_images < 2:
        raise ValueError(f"min_images is {min_images}; at least 2 are needed for a standard error")
    units = len(effects)
    tests = np.ascontiguousarray(np.moveaxis(effects, 1, 2), np.float64).reshape(units * columns, -1)
    measured = ~np.isnan(tests)
    images = measured.sum(1)
    enough = images >= min_images
    directed = enough & np.tile(signs, units)

    mean = _over(tests, measured, images, enough)
    squares = np.where(measured, tests - mean[:, None], 0) ** 2
    error = np.sqrt(squares.sum(1) / np.where(enough, (images - 1) * images, np.nan))
    lower, upper = np.full((2, len(tests)), np.nan)
    if resamples:
        lower[enough], upper[enough] = bootstrap.interval(
            tests[enough], resamples=resamples, seed=seed, level=level
        )
    agree = np.sign(tests) * np.sign(mean)[:, None] > 0
    same = np.where(directed, agree.sum(1) / np.maximum(images, 1), np.nan)
    p = np.full(len(tests), np.nan)
    p[directed] = sign_flip(tests[directed][:, spaced(tests.shape[1], MAX_IMAGES)])
    divisor = np.where(np.asarray(scale, np.float64) > 0, scale, np.nan)
    table = (units, columns)
    return Summary(
        images=images.reshape(table),
        mean=mean.reshape(table),
        standard_error=error.reshape(table),
        lower=lower.reshape(table),
        upper=upper.reshape(table),
        standardised=mean.reshape(table) / divisor,
        same_sign=same.reshape(table),
        p=p.reshape(table),
    )


def _over(
    tests: Doubles, measured: NDArray[np.bool_], images: NDArray[np.int64], enough: NDArray[np.bool_]
) -> Doubles:
    """The mean of each test over its measured images; NaN where they are not enough."""
    total = np.where(measured, tests, 0).sum(1)
    mean: Doubles = np.where(enough, total / np.maximum(images, 1), np.nan)
    return mean


def _wrapped(change: Doubles, periods: Doubles) -> Doubles:
    circle = np.where(periods > 0, periods, 1)
    turned = np.mod(change + circle / 2, circle)
    turned = np.where(turned < circle, turned, turned - circle)  # np.mod rounds up to a whole circle
    wrapped: Doubles = np.where(periods > 0, turned - circle / 2, change)
    return wrapped
