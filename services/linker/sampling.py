"""Deterministic choices by row: the fold of a row, and a sample of constant size.

Both depend on nothing but the row's global id, so that they come out the same however the rows are
ordered, batched or spread over workers, and so that a sample of a union is the union's sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError

_SAMPLE_SALT = np.uint64(0x5EED_5A17_0B07_704D)
_FOLD_SALT = np.uint64(0xF01D_5EED_C0DE_2024)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads 64-bit integers evenly: the finaliser of splitmix64, which is a bijection.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    mixed = values + np.uint64(0x9E37_79B9_7F4A_7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31))


def as_row_ids(row_ids: NDArray[np.generic], rows: int) -> NDArray[np.uint64]:
    """Checks row ids and returns them as unsigned integers.

    Args:
        row_ids: (rows,) integers from 0 to 2**64 - 1, unique over the whole data set.
        rows: How many there must be.

    Raises:
        InvalidArgumentError: For another shape, another kind of number or a negative id.
    """
    ids = np.asarray(row_ids)
    negative = ids.dtype.kind == "i" and ids.size > 0 and ids.min() < 0
    if ids.shape != (rows,) or ids.dtype.kind not in "iu" or negative:
        raise InvalidArgumentError(
            f"row_ids have shape {ids.shape} and type {ids.dtype}: "
            f"they must be {rows} non-negative integers, one a row",
            reason="BAD_ROW_IDS",
            field="row_ids",
            rows=rows,
        )
    return ids.astype(np.uint64)


def priorities(row_ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the (rows,) priorities of rows in a sample: different for different ids."""
    return _mix(row_ids ^ _SAMPLE_SALT)


def assign_folds(row_ids: NDArray[np.generic], folds: int) -> NDArray[np.int64]:
    """Assigns rows to cross-validation folds by their ids alone.

    Args:
        row_ids: (rows,) non-negative integers.
        folds: Number of folds, at least 2.

    Returns:
        (rows,) fold indices from 0 to folds - 1, about equally many of each.

    Raises:
        InvalidArgumentError: For fewer than two folds or bad row ids.
    """
    if folds < 2:
        raise InvalidArgumentError(
            f"{folds} folds: cross-validation needs at least 2",
            reason="TOO_FEW_FOLDS",
            field="folds",
            folds=folds,
        )
    ids = as_row_ids(row_ids, np.asarray(row_ids).size)
    return (_mix(ids ^ _FOLD_SALT) % np.uint64(folds)).astype(np.int64)


class BottomSample:
    """The pairs whose ids hash lowest, at most `size` of them: a uniform sample of all seen.

    Attributes:
        size: Most pairs that are kept.
        features: (kept, units) float32.
        latents: (kept, dimensions) float32.
        classes: (kept,) int64.
        row_ids: (kept,) uint64, ordered by priority.
    """

    def __init__(self, size: int, features: int, latents: int) -> None:
        """Makes an empty sample for pairs of the given widths."""
        self.size = size
        self._kept = 0
        self._priorities = np.empty(size, np.uint64)
        self._row_ids = np.empty(size, np.uint64)
        self._classes = np.empty(size, np.int64)
        self._features = np.empty((size, features), np.float32)
        self._latents = np.empty((size, latents), np.float32)

    def __len__(self) -> int:
        """Returns the number of pairs kept."""
        return self._kept

    def _ordered(self) -> NDArray[np.intp]:
        return np.argsort(self._priorities[: self._kept])

    @property
    def features(self) -> NDArray[np.float32]:
        """(kept, units), in the order of the priorities."""
        return self._features[self._ordered()]

    @property
    def latents(self) -> NDArray[np.float32]:
        """(kept, dimensions), in the order of the priorities."""
        return self._latents[self._ordered()]

    @property
    def classes(self) -> NDArray[np.int64]:
        """(kept,), in the order of the priorities."""
        return self._classes[self._ordered()]

    @property
    def row_ids(self) -> NDArray[np.uint64]:
        """(kept,), in the order of the priorities."""
        return self._row_ids[self._ordered()]

    def offer(
        self,
        features: NDArray[np.floating],
        latents: NDArray[np.floating],
        classes: NDArray[np.int64],
        row_ids: NDArray[np.uint64],
    ) -> None:
        """Takes those of the offered rows (n, ...) in that belong to the sample."""
        offered = priorities(row_ids)
        if self.size == 0:
            return
        if self._kept == self.size:
            below = np.flatnonzero(offered < self._priorities.max())
        else:
            below = np.arange(len(offered))
        if not len(below):
            return
        together = np.concatenate([self._priorities[: self._kept], offered[below]])
        if len(together) <= self.size:
            slots, chosen = np.arange(self._kept, len(together)), below
            self._kept = len(together)
        else:
            winners = np.zeros(len(together), bool)
            winners[np.argpartition(together, self.size - 1)[: self.size]] = True
            free = np.flatnonzero(~winners[: self._kept])
            slots = np.concatenate([free, np.arange(self._kept, self.size)])
            chosen = below[winners[self._kept :]]
            self._kept = self.size
        self._priorities[slots] = offered[chosen]
        self._row_ids[slots] = row_ids[chosen]
        self._classes[slots] = classes[chosen]
        self._features[slots] = features[chosen]
        self._latents[slots] = latents[chosen]

    def merge(self, other: BottomSample) -> BottomSample:
        """Returns the sample of both samples' rows, of this one's size."""
        merged = BottomSample(self.size, self._features.shape[1], self._latents.shape[1])
        for sample in (self, other):
            merged.offer(sample.features, sample.latents, sample.classes, sample.row_ids)
        return merged
