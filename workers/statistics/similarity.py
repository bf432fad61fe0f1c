"""Units with like effects: clusters of them, and a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster import hierarchy, vq

CUT = 0.5
"""Cosine distance up to which clusters are joined: a mean cosine of 0.5 between their units."""
DIRECT = 4_096
"""Units that linkage takes whole; of more, the rest joins the nearest cluster of a sample of that size."""

Array = NDArray[np.float64]


def clusters(profiles: Array, cut: float = CUT) -> NDArray[np.int64]:
    """Clusters of units by the cosine of their profiles, by average linkage.

    Args:
        profiles: (units, columns) standardised effects, 0 where there is none.
        cut: Largest mean cosine distance within a cluster.

    Returns:
        (units,) labels, 0 for the largest cluster; -1 for units without effect.
    """
    unit, alive = _directions(profiles)
    labels = np.full(len(profiles), -1, np.int64)
    if len(unit) == 0:
        return labels
    if len(unit) == 1:
        labels[alive] = 0
        return labels
    step = -(-len(unit) // DIRECT)
    sample = unit[::step]
    found = _linked(sample, cut)
    if step > 1:
        centres = np.stack([sample[found == k].mean(0) for k in np.unique(found)])
        found = vq.vq(unit, centres)[0]
    labels[alive] = _by_size(found)
    return labels


def map_2d(profiles: Array) -> Array:
    """Places of units on a plane, like units near each other: (units, 2).

    The first two principal axes of the directions of the profiles, each turned so that its largest
    component is positive; units without effect lie at the origin.
    """
    unit, alive = _directions(profiles)
    place = np.zeros((len(profiles), 2))
    if len(unit) < 2:
        return place
    centred = unit - unit.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    found = centred @ (axes * signs[:, None]).T
    place[alive, : found.shape[1]] = found
    return place


def _directions(profiles: Array) -> tuple[Array, NDArray[np.int64]]:
    """Profiles of length 1, and which units they belong to."""
    lengths = np.linalg.norm(profiles, axis=1)
    alive = np.flatnonzero(lengths > 0)
    return profiles[alive] / lengths[alive, None], alive


def _linked(unit: Array, cut: float) -> NDArray[np.int64]:
    """Labels of average linkage; the mean cosine distance is half the mean squared distance."""
    count = len(unit)
    if count < 2:
        return np.zeros(count, np.int64)
    gram = unit @ unit.T
    upper = np.triu_indices(count, 1)
    tree = hierarchy.linkage(np.clip(1.0 - gram[upper], 0.0, 2.0), method="average")
    labels: NDArray[np.int64] = hierarchy.fcluster(tree, cut, criterion="distance").astype(np.int64)
    return labels


def _by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels renamed by falling size, equal sizes in the order of their first unit."""
    names, first, inverse, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse]
