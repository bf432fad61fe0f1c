"""Counts and sums of the pairs of each class, from which class means follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from unitscope.errors import InvalidArgumentError


@dataclass(frozen=True)
class ClassSums:
    """Per-class sums of rows `(r, w)`.

    Attributes:
        ids: (classes,) the classes seen, ascending.
        counts: (classes,) rows of each.
        sums: (classes, columns) float64 sums of the rows.
    """

    ids: NDArray[np.int64]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]

    @classmethod
    def empty(cls, columns: int) -> ClassSums:
        """Returns the sums of no rows."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, columns)))

    @classmethod
    def of(
        cls, centred: NDArray[np.float64], mean: NDArray[np.float64], classes: NDArray[np.int64]
    ) -> ClassSums:
        """Sums rows given as deviations (n, columns) from a mean (columns,), by class (n,)."""
        ids, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
        ones = np.ones(len(classes))
        indicator = sparse.csr_array((ones, (codes, np.arange(len(classes)))), shape=(len(ids), len(classes)))
        sums = indicator @ centred + counts[:, None] * mean
        return cls(ids.astype(np.int64), counts.astype(np.int64), sums)

    def merge(self, other: ClassSums) -> ClassSums:
        """Returns the sums over both sets of rows."""
        ids = np.union1d(self.ids, other.ids)
        counts = np.zeros(len(ids), np.int64)
        sums = np.zeros((len(ids), self.sums.shape[1]))
        for part in (self, other):
            at = np.searchsorted(ids, part.ids)
            counts[at] += part.counts
            sums[at] += part.sums
        return ClassSums(ids, counts, sums)

    @property
    def means(self) -> NDArray[np.float64]:
        """(classes, columns) the mean row of each class."""
        return self.sums / self.counts[:, None]

    def rows_of(self, classes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns where each of (n,) classes stands in `ids`.

        Raises:
            InvalidArgumentError: For a class that was never seen.
        """
        at = np.searchsorted(self.ids, classes)
        known = at < len(self.ids)
        known[known] = self.ids[at[known]] == classes[known]
        if not known.all():
            strange = int(classes[np.argmin(known)])
            raise InvalidArgumentError(
                f"class {strange} was not among the pairs that the linker was fitted to: "
                f"those are {_listing(self.ids)}",
                reason="UNKNOWN_CLASS",
                field="classes",
                class_id=strange,
            )
        return at.astype(np.int64)


def _listing(ids: NDArray[np.int64]) -> str:
    head = ", ".join(str(value) for value in ids[:10])
    return head if len(ids) <= 10 else f"{head} and {len(ids) - 10} more"
