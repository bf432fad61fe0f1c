"""How far generated pictures are from real ones, on the features of a network, with intervals.

Two distances between sets of feature vectors. The Fréchet distance (Heusel et al., arXiv 1706.08500, eq. 6)
compares Gaussians fitted to both, and is biased upwards for few samples. The kernel distance (KID:
Bińkowski et al., arXiv 1801.01401, section 4) is the unbiased squared maximum mean discrepancy under the
cubic polynomial kernel; it may be negative, and is comparable between numbers of samples::

    found = measure(generated, real)       # features, float (n, f) and (m, f)
    found.frechet.value, found.frechet.low, found.frechet.high

Intervals are of the delete-a-group jackknife (Efron and Tibshirani, An Introduction to the Bootstrap,
chapter 11): both sets are cut into groups, each group is left out once, and the spread of the results
gives a standard error. A bootstrap would not do: a sample with repetitions fills fewer dimensions
than one without, and is farther from everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError

GROUPS = 10
"""Groups of the jackknife."""

_STUDENT = 2.262
"""97.5 % quantile of Student's t with GROUPS - 1 degrees of freedom."""

MIN_SAMPLES = 2 * GROUPS
"""Samples that a set must have: two in every group."""

KERNEL_SAMPLES = 5_000
"""Samples of each set that the kernel distance reads, the first ones: its cost grows with their square."""

Features = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval by the jackknife."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class Distances:
    """Distances of generated from real pictures, and how many of each they were measured on."""

    frechet: Interval
    kernel: Interval
    generated: int
    real: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON, rounded to six significant digits, as cards and checkpoints hold it."""
        found: dict[str, Any] = {"generated": self.generated, "real": self.real}
        for name, interval in (("frechet", self.frechet), ("kernel", self.kernel)):
            values = (interval.value, interval.low, interval.high)
            found[name] = dict(
                zip(("value", "low", "high"), (float(f"{v:.6g}") for v in values), strict=True)
            )
        return found


def frechet_distance(a: Features, b: Features) -> float:
    """Return the distance of the Gaussians fitted to ``a (n, f)`` and ``b (m, f)``, at least 0.

    It is biased upwards for few samples: compare only figures of the same n and m.
    """
    difference = a.mean(0) - b.mean(0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of a product needs only symmetric problems: eigenvalues of root(A) B
    # root(A).
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    distance = difference @ difference + np.trace(first) + np.trace(second) - 2 * cross
    return max(0.0, float(distance))


def kernel_distance(a: Features, b: Features) -> float:
    """The unbiased squared mean discrepancy of ``a (n, f)`` and ``b (m, f)``, n and m at least 2."""
    return _Blocks.of(a, b, 1).distance(())


def measure(generated: NDArray[np.floating], real: NDArray[np.floating]) -> Distances:
    """Both distances with their intervals.

    Args:
        generated: Features of generated pictures, ``(n, f)``, in random order.
        real: Features of real pictures, ``(m, f)``, in random order.

    Raises:
        InvalidArgumentError: Fewer than `MIN_SAMPLES` rows, features of two widths (reason
            WRONG_TENSOR_SHAPE), or NaN or infinity (NON_FINITE_FEATURES).
    """
    for name, features in (("generated", generated), ("real", real)):
        if features.ndim != 2 or len(features) < MIN_SAMPLES or features.shape[1:] != generated.shape[1:]:
            raise InvalidArgumentError(
                f"{name} has the shape {features.shape}; "
                f"({MIN_SAMPLES} or more, {generated.shape[-1]}) is needed",
                reason="WRONG_TENSOR_SHAPE",
                field=name,
            )
        if not np.isfinite(features).all():
            raise InvalidArgumentError(
                f"features of {name} pictures hold NaN or infinity; the training has diverged, or the "
                "feature network is broken",
                reason="NON_FINITE_FEATURES",
                field=name,
            )
    a, b = generated.astype(np.float64), real.astype(np.float64)
    frechet = _jackknife(
        _frechet(a, b),
        [_frechet(_without(a, group), _without(b, group)) for group in range(GROUPS)],
    )
    blocks = _Blocks.of(a[:KERNEL_SAMPLES], b[:KERNEL_SAMPLES], GROUPS)
    kernel = _jackknife(blocks.distance(()), [blocks.distance((group,)) for group in range(GROUPS)])
    # A distance of Gaussians cannot be negative; the mean discrepancy, being unbiased, can.
    frechet = Interval(frechet.value, max(0.0, frechet.low), frechet.high)
    return Distances(frechet, kernel, len(a), len(b))


def _frechet(a: Features, b: Features) -> float:
    """`frechet_distance`, by a smaller problem where there are fewer samples than features."""
    if min(len(a), len(b)) >= a.shape[1]:
        return frechet_distance(a, b)
    difference = a.mean(0) - b.mean(0)
    left = (a - a.mean(0)) / np.sqrt(len(a) - 1)
    right = (b - b.mean(0)) / np.sqrt(len(b) - 1)
    # With covariances L'L and R'R the trace of the root of their product is the sum of the singular
    # values of L R', which is as wide as there are samples.
    cross = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    traces = np.square(left).sum() + np.square(right).sum()
    return max(0.0, float(difference @ difference + traces - 2 * cross))


def _without(rows: Features, group: int) -> Features:
    return np.delete(rows, _part(rows, group, GROUPS), 0)


def _part(rows: Features, group: int, groups: int) -> NDArray[np.int64]:
    """Indices of a group: every so many rows, so that sorted classes are spread."""
    return np.arange(group, len(rows), groups)


def _jackknife(value: float, without: Sequence[float]) -> Interval:
    """The interval around a figure, of the figures found without each group."""
    left_out = np.array(without)
    spread = np.square(left_out - left_out.mean()).sum() * (len(left_out) - 1) / len(left_out)
    half = _STUDENT * float(np.sqrt(spread))
    return Interval(value, value - half, value + half)


@dataclass(frozen=True)
class _Blocks:
    """Sums of the kernel over all pairs of groups, so that leaving one out costs next to nothing.

    Attributes:
        same_a, same_b, cross: Sums ``(groups, groups)``, of pairs of different samples in the first two.
        count_a, count_b: Samples of every group.
    """

    same_a: Features
    same_b: Features
    cross: Features
    count_a: Features
    count_b: Features

    @classmethod
    def of(cls, a: Features, b: Features, groups: int) -> _Blocks:
        parts_a = [a[_part(a, g, groups)] for g in range(groups)]
        parts_b = [b[_part(b, g, groups)] for g in range(groups)]
        counts = (np.array([len(part) for part in parts], np.float64) for parts in (parts_a, parts_b))
        return cls(_sums(parts_a), _sums(parts_b), _sums(parts_a, parts_b), *counts)

    def distance(self, left_out: Sequence[int]) -> float:
        """The distance without some groups."""
        kept = np.setdiff1d(np.arange(len(self.count_a)), np.array(left_out, np.int64))
        n, m = self.count_a[kept].sum(), self.count_b[kept].sum()
        block = np.ix_(kept, kept)
        within = self.same_a[block].sum() / (n * (n - 1)) + self.same_b[block].sum() / (m * (m - 1))
        return float(within - 2 * self.cross[block].sum() / (n * m))


def _sums(ones: Sequence[Features], others: Sequence[Features] | None = None) -> Features:
    """Sums of ``(x . y / f + 1)^3`` over pairs of samples by group, but those of one with itself."""
    found = np.empty((len(ones), len(others or ones)))
    for i, one in enumerate(ones):
        for j, other in enumerate(others or ones):
            values = (one @ other.T / one.shape[1] + 1) ** 3
            found[i, j] = values.sum() - (np.trace(values) if others is None and i == j else 0.0)
    return found
