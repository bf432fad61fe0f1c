"""Units that do alike: cosine of profiles, and clusters of them.

A profile is a unit's standardised effects, (units, columns); NaN (not measured) counts as no effect.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from workers.statistics.subsets import spaced

CUT = 0.5
"""Mean cosine distance at which clusters are cut."""
SAMPLE = 4096
"""Most units whose distances are held all at once: 67 MB as the linkage needs them."""
BLOCK = 1024
"""Units whose cosines with all others are held at once."""

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


def directions(profiles: NDArray[Any]) -> Floats:
    """Profiles of length 1; zero where a unit has no effect."""
    filled = np.nan_to_num(profiles.astype(np.float64), nan=0.0)
    largest = np.abs(filled).max(1, keepdims=True, initial=0)
    scaled = filled / np.where(largest > 0, largest, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    unit: Floats = (scaled / np.where(length > 0, length, 1)).astype(np.float32)
    return unit


def resembling(profiles: NDArray[Any], unit: int, top: int = 10) -> tuple[Integers, Floats]:
    """The units whose profiles resemble one unit's most, and their cosines, the largest first.

    Neither the unit itself nor units without effect are among them: there may be fewer than top.

    Raises:
        ValueError: There is no such unit.
    """
    if not 0 <= unit < len(profiles):
        raise ValueError(f"unit {unit} is none of the {len(profiles)} units")
    others, cosines = _nearest(directions(profiles), np.array([unit]), top)
    found = others[0] >= 0
    return others[0][found], cosines[0][found]


def nearest(profiles: NDArray[Any], top: int = 10) -> tuple[Integers, Floats]:
    """`resembling` for all units: (units, top) others, -1 where there are fewer, and their cosines.

    Cosines where there is no other are NaN.
    """
    unit = directions(profiles)
    blocks = [
        _nearest(unit, np.arange(start, min(start + BLOCK, len(unit))), top)
        for start in range(0, len(unit), BLOCK)
    ]
    empty = (np.empty((0, top), np.int64), np.empty((0, top), np.float32))
    others, cosines = zip(empty, *blocks, strict=True)
    return np.concatenate(others), np.concatenate(cosines)


def clusters(profiles: NDArray[Any], cut: float = CUT) -> NDArray[np.int32]:
    """Clusters of units with like effects, (units,): 0 is the largest, -1 is without effect.

    Average linkage on the cosine distance (R. Sokal and C. Michener, 1958), cut where the mean distance
    between two clusters exceeds cut. Of more than `SAMPLE` units so many, evenly spaced, are linked;
    each other joins the cluster to which its mean distance is least, where that is at most cut, and what
    is left is linked for itself. Of clusters of one size, that of the first unit comes first.

    Args:
        profiles: (units, columns).
        cut: Cosine distance, 0 to 2.
    """
    unit = directions(profiles)
    labels = np.full(len(unit), -1, np.int64)
    remaining = np.flatnonzero(unit.any(1))
    while len(remaining):
        sample = spaced(len(remaining), SAMPLE)
        chosen, rest = remaining[sample], np.delete(remaining, sample)
        linked = _linked(unit[chosen], cut)
        first = int(labels.max()) + 1
        labels[chosen] = linked + first
        # The mean cosine with a cluster's members is the product with their mean.
        centres = np.zeros((int(linked.max()) + 1, unit.shape[1]), np.float32)
        np.add.at(centres, linked, unit[chosen])
        centres /= np.bincount(linked)[:, None]
        cosines = unit[rest] @ centres.T
        joins = 1 - cosines.max(1) <= cut if len(rest) else np.zeros(0, bool)
        labels[rest[joins]] = cosines.argmax(1)[joins] + first if joins.any() else 0
        remaining = rest[~joins]
    return _by_size(labels)


def _linked(unit: Floats, cut: float) -> Integers:
    """Labels from 0 of the clusters of at most `SAMPLE` units."""
    count = len(unit)
    if count == 1:
        return np.zeros(1, np.int64)
    distances = np.empty(count * (count - 1) // 2, np.float64)
    start = 0
    for row in range(count - 1):
        end = start + count - 1 - row
        distances[start:end] = 1 - unit[row + 1 :] @ unit[row]
        start = end
    tree = linkage(np.maximum(distances, 0, out=distances), "average")
    labels: Integers = fcluster(tree, cut, "distance").astype(np.int64) - 1
    return labels


def _by_size(labels: Integers) -> NDArray[np.int32]:
    ordered = np.full(len(labels), -1, np.int32)
    known = labels >= 0
    if known.any():
        _, first, inverse, sizes = np.unique(
            labels[known], return_index=True, return_inverse=True, return_counts=True
        )
        rank = np.empty(len(sizes), np.int32)
        rank[np.lexsort((first, -sizes))] = np.arange(len(sizes))
        ordered[known] = rank[inverse]
    return ordered


def _nearest(unit: Floats, rows: Integers, top: int) -> tuple[Integers, Floats]:
    """The top others of some rows, padded with -1, and their cosines, padded with NaN."""
    cosines = unit[rows] @ unit.T
    cosines[:, ~unit.any(1)] = -np.inf
    cosines[~unit[rows].any(1)] = -np.inf
    cosines[np.arange(len(rows)), rows] = -np.inf
    width = min(top, len(unit))
    # A stable sort breaks ties by the unit; a partition before it keeps it short.
    near = np.sort(np.argpartition(-cosines, max(width - 1, 0), axis=1)[:, :width], axis=1)
    order = np.argsort(-np.take_along_axis(cosines, near, 1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, 1)
    values = np.take_along_axis(cosines, near, 1)
    others = np.full((len(rows), top), -1, np.int64)
    found = np.full((len(rows), top), np.nan, np.float32)
    others[:, :width] = np.where(np.isfinite(values), near, -1)
    found[:, :width] = np.where(np.isfinite(values), np.clip(values, -1, 1), np.nan)
    return others, found
