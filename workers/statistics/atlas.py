"""A map of all units in the plane, on which units that do alike lie together.

Source: the layout follows L. McInnes et al., "UMAP" (2018), section 3: neighbours attract, units drawn at
random repel each other, both as the gradient of a cross entropy with a Student kernel. Instead of single
edges all are moved at once, which NumPy does fast and which has no race between threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from workers.statistics.similarity import directions, nearest

NEIGHBOURS = 15
"""Neighbours of each unit that attract it."""
EPOCHS = 300
"""Rounds of moving all units."""
REPELLING = 15
"""Units drawn for each unit in each round that repel it."""
EXTENT = 4.0
"""Standard deviation of the first coordinate at the start, in units of the kernel's width."""
STEP = 1.0
"""Length of the first round's moves, as a share of the forces; it falls to 0 linearly."""
LIMIT = 4.0
"""Largest move in one direction and one round."""

Doubles = NDArray[np.float64]


def map_2d(profiles: NDArray[Any], seed: int = 0) -> NDArray[np.float32]:
    """Places all units, (units, 2), in [-1, 1]; NaN for units without effect.

    Neighbourhoods mean something, distances between far groups and the axes do not. The start is the
    principal components of the unit-length profiles, each turned so that its largest loading is
    positive; the same profiles and seed give the same map.

    Args:
        profiles: (units, columns) standardised effects; NaN counts as no effect.
        seed: Of the units that repel.
    """
    unit = directions(profiles)
    some = np.flatnonzero(unit.any(1))
    places = np.full((len(unit), 2), np.nan, np.float32)
    if len(some):
        points = _principal(unit[some].astype(np.float64))
        if len(some) > NEIGHBOURS:
            points = _arranged(points, _graph(unit[some]), np.random.default_rng(seed))
        points -= (points.max(0) + points.min(0)) / 2
        places[some] = points / max(np.abs(points).max(), 1e-12)
    return places


def _principal(unit: Doubles) -> Doubles:
    """The first two principal components, (units, 2), the first with standard deviation `EXTENT`."""
    centred = unit - unit.mean(0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    points = np.zeros((len(unit), 2))
    points[:, : axes.shape[1]] = centred @ axes
    scaled: Doubles = points * (EXTENT / max(points[:, 0].std(), 1e-12))
    return scaled


def _graph(unit: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64], Doubles]:
    """Edges from, to, weight of the neighbourhood graph, both ways; the weights of a unit sum to 1."""
    others, cosines = nearest(unit, NEIGHBOURS)
    distance = 1 - cosines.astype(np.float64)
    beyond = distance - distance[:, :1]
    weight = np.exp(-beyond / np.maximum(beyond.mean(1, keepdims=True), 1e-9))
    count = len(unit)
    rows = np.repeat(np.arange(count), NEIGHBOURS)
    one_way = coo_array((weight.ravel(), (rows, others.ravel())), (count, count)).tocsr()
    other = one_way.T.tocsr()
    # The probability that at least one of the two edges exists.
    both = (one_way + other - one_way * other).tocoo()
    first, second = both.coords
    total = np.bincount(first, both.data, count)
    return first, second, both.data / total[first]


def _arranged(
    points: Doubles,
    graph: tuple[NDArray[np.int64], NDArray[np.int64], Doubles],
    random: np.random.Generator,
) -> Doubles:
    first, second, weight = graph
    count = len(points)
    for epoch in range(EPOCHS):
        gap = points[second] - points[first]
        pull = (weight * 2 / (1 + (gap**2).sum(1)))[:, None] * gap
        move = np.stack([np.bincount(first, pull[:, axis], count) for axis in (0, 1)], axis=1)
        for _ in range(REPELLING):
            away = points - points[random.permutation(count)]
            square = (away**2).sum(1, keepdims=True)
            move += away * (2 / ((0.001 + square) * (1 + square)))
        points = points + np.clip(move * STEP, -LIMIT, LIMIT) * (1 - epoch / EPOCHS)
    return points
