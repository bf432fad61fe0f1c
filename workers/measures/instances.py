"""Instances of a part: its separate pieces, counted, and followed over the steps of a traversal.

Pieces are 8-connected. All pictures and parts are labelled in one call, in a mosaic of their masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from workers.measures.regions import UNLABELLED

MIN_OVERLAP = 0.25
"""Least share of the smaller of two pieces that must lie in the other for them to be one instance."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """The 8-connected pieces of all parts of a batch of pictures, numbered from 1.

    Attributes:
        ids: (batch, height, width) int32, the piece of each pixel; 0 where it is unlabelled or its piece
            has fewer pixels than asked for.
        picture: (pieces + 1,) the picture of each piece; entry 0 stands for none and is -1.
        part: (pieces + 1,) likewise its part.
        pixels: (pieces + 1,) its number of pixels, 0 for none.
    """

    ids: NDArray[np.int32]
    picture: Integers
    part: Integers
    pixels: Integers

    def counts(self, parts: int) -> Integers:
        """Pieces of every part of every picture, (batch, parts)."""
        batch = len(self.ids)
        keys = self.picture[1:] * parts + self.part[1:]
        counts: Integers = np.bincount(keys, minlength=batch * parts).reshape(batch, parts)
        return counts


def pieces(labels: NDArray[np.uint8], parts: int, min_pixels: int = 1) -> Pieces:
    """The pieces of at least min_pixels pixels.

    Args:
        labels: (batch, height, width), indices into the parts; others belong to none.
        parts: Number of parts.
        min_pixels: Smaller pieces are left out.
    """
    batch, height, width = labels.shape
    # Tiles one below the other, an empty row between them: nothing touches across tiles.
    mosaic = np.zeros((batch, parts, height + 1, width), np.uint8)
    np.equal(
        labels[:, None],
        np.arange(parts, dtype=np.uint8)[:, None, None],
        out=mosaic[:, :, :height].view(np.bool_),
    )
    cv2.setNumThreads(1)
    count, found = cv2.connectedComponents(mosaic.reshape(-1, width), connectivity=8)
    tiles: NDArray[np.int32] = found.reshape(mosaic.shape)[:, :, :height].max(1)
    sizes = np.bincount(tiles.ravel(), minlength=count)
    sizes[0] = 0
    kept = sizes >= max(min_pixels, 1)
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    ids = number[tiles]
    picture, part = np.full((2, int(kept.sum()) + 1), -1, np.int64)
    picture[ids] = np.arange(batch)[:, None, None]
    part[ids] = labels
    picture[0] = part[0] = -1
    return Pieces(ids, picture, part, np.concatenate([[0], sizes[kept]]))


def successors(found: Pieces, before: NDArray[np.int32], after: NDArray[np.int32]) -> Integers:
    """Which piece of the pictures after is the same instance as each piece of those before.

    Two pieces of one part can be the same where at least `MIN_OVERLAP` of the smaller lies in the other;
    of the ways to pair them, each at most once, the one with the largest sum of intersection over union
    is taken (H. W. Kuhn's assignment problem, 1955).

    Args:
        found: The pieces of all these pictures.
        before: (n, height, width), ids of pieces; 0 where there is nothing to follow.
        after: The same shape: picture i follows picture i of before.

    Returns:
        (pieces + 1,) the piece that follows each, 0 for none.
    """
    following = np.zeros(len(found.pixels), np.int64)
    both = (before > 0) & (after > 0)
    both[both] = found.part[before[both]] == found.part[after[both]]
    pairs, shared = np.unique(
        before[both].astype(np.int64) * len(following) + after[both], return_counts=True
    )
    first, second = np.divmod(pairs, len(following))
    one, other = found.pixels[first], found.pixels[second]
    near = shared >= MIN_OVERLAP * np.minimum(one, other)
    union = (shared / (one + other - shared))[near]
    first, second = first[near], second[near]
    alone = (np.bincount(first)[first] == 1) & (np.bincount(second)[second] == 1)
    following[first[alone]] = second[alone]
    # What is left has a choice, within its own picture and part.
    first, second, union = first[~alone], second[~alone], union[~alone]
    groups = np.stack([found.picture[first], found.part[first]])
    for group in np.unique(groups, axis=1).T:
        inside = (groups == group[:, None]).all(0)
        rows, row = np.unique(first[inside], return_inverse=True)
        columns, column = np.unique(second[inside], return_inverse=True)
        gain = np.zeros((len(rows), len(columns)))
        gain[row, column] = union[inside]
        taken_rows, taken = linear_sum_assignment(gain, maximize=True)
        real = gain[taken_rows, taken] > 0
        following[rows[taken_rows[real]]] = columns[taken[real]]
    return following


def followed(found: Pieces, several: NDArray[np.bool_]) -> Integers:
    """The instances that can be followed through all steps of their traversal.

    Args:
        found: The pieces of pictures that lie traversal by traversal, step by step.
        several: (traversals, steps, parts), the parts to follow, equal in all steps.

    Returns:
        (instances, steps) the piece that each instance is at each step.
    """
    traversals, steps, _ = several.shape
    chosen = several.reshape(traversals * steps, -1)[found.picture, found.part]
    chosen[0] = False
    ids = np.where(chosen[found.ids], found.ids, 0).reshape(traversals, steps, *found.ids.shape[1:])
    chain = [np.flatnonzero(chosen & (found.picture % steps == 0))]
    if not len(chain[0]):
        return np.zeros((0, steps), np.int64)
    for step in range(1, steps):
        chain.append(successors(found, ids[:, step - 1], ids[:, step])[chain[-1]])
    instances = np.stack(chain, axis=1)
    through: Integers = instances[(instances > 0).all(1)]
    return through


def track(masks: NDArray[np.bool_], min_pixels: int = 1) -> NDArray[np.int32]:
    """Numbers the instances in a sequence of masks so that each keeps its number.

    Args:
        masks: (steps, height, width).
        min_pixels: Smaller pieces are left out.

    Returns:
        (steps, height, width) int32: 0 where there is no instance; the instances of step 0 are numbered
        from 1. A piece that follows none, as `successors` says, gets a number of its own.
    """
    found = pieces(np.where(masks, 0, UNLABELLED).astype(np.uint8), 1, min_pixels)
    number = np.zeros(len(found.pixels), np.int32)
    given = 0
    for step in range(len(masks)):
        if step:
            following = successors(found, found.ids[step - 1 : step], found.ids[step : step + 1])
            known = following > 0
            number[following[known]] = number[known]
        fresh = (found.picture == step) & (number == 0)
        number[fresh] = given + 1 + np.arange(fresh.sum())
        given += int(fresh.sum())
    return number[found.ids]
