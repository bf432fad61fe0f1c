"""Sums over the parts of many pictures at once: one pass over the pixels for a number of each part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNLABELLED = 255
"""Value of pixels that belong to no part."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regions:
    """The parts of a batch of pictures, and the whole pictures as one part more.

    Attributes:
        keys: (batch * height * width,) int64, picture * (parts + 1) + part; unlabelled pixels lie in the
            slot after the last part.
        shape: Pictures, and slots of each (parts + 1).
        pixels: (batch, parts + 1) float64, pixels of every part; the last column is the whole picture.
    """

    keys: NDArray[np.int64]
    shape: tuple[int, int]
    pixels: Doubles

    @classmethod
    def of(cls, labels: NDArray[np.uint8], parts: int) -> Regions:
        """The parts of labels (batch, height, width), indices into the parts or `UNLABELLED`.

        Raises:
            ValueError: A label is neither.
        """
        known = (labels < parts) | (labels == UNLABELLED)
        if not known.all():
            raise ValueError(
                f"label {int(labels[~known].max())} is none of the {parts} parts, 0 to {parts - 1}, "
                f"nor {UNLABELLED} (not labelled)"
            )
        batch = len(labels)
        slots = np.minimum(labels.reshape(batch, -1), parts).astype(np.int64)
        keys = (slots + np.arange(batch)[:, None] * (parts + 1)).ravel()
        shape = (batch, parts + 1)
        return cls(keys, shape, _with_whole(_table(keys, None, shape)))

    def sums(self, values: NDArray[Any]) -> Doubles:
        """Sums (batch, parts + 1) of values (batch, height, width) or equal in size."""
        return _with_whole(_table(self.keys, values.ravel(), self.shape))

    def means(self, values: NDArray[Any]) -> Doubles:
        """Means (batch, parts + 1) of values (batch, height, width); NaN where there are no pixels."""
        return self.sums(values) / np.where(self.pixels > 0, self.pixels, np.nan)

    def histograms(self, bins: NDArray[np.int64], count: int) -> Doubles:
        """How often each of count bins occurs, (batch, parts + 1, count), for bins (batch, pixels)."""
        batch, slots = self.shape
        joint = self.keys * count + bins.ravel()
        return _with_whole(np.bincount(joint, minlength=batch * slots * count).reshape(batch, slots, count))


def _table(keys: NDArray[np.int64], weights: NDArray[Any] | None, shape: tuple[int, int]) -> NDArray[Any]:
    table: NDArray[Any] = np.bincount(keys, weights, shape[0] * shape[1]).reshape(shape)
    return table


def _with_whole(table: NDArray[Any]) -> Doubles:
    """The slots of a table with that of unlabelled pixels replaced by the sum of all."""
    table = table.astype(np.float64)
    table[:, -1] = table.sum(1)
    return table
