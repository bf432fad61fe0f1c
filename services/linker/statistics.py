"""Sufficient statistics of pairs `(r, w)`: all that the linker is fitted from.

One pass over the data, memory that does not depend on the number of pairs, and merging that gives
what one pass over all pairs would have given. Rows are gathered into blocks of a fixed size before
they are multiplied: the matrix library is far from its speed on a handful of rows, and the result
does not depend on how the same rows were batched, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from services.linker.batches import Batch
from services.linker.classes import ClassSums
from services.linker.moments import Moments, add_outer, add_rows
from services.linker.sampling import BottomSample
from unitscope.errors import DataLossError, InvalidArgumentError

MAX_FEATURES = 8192
"""Most units that the primal form takes: their Gram matrix then needs 0.5 GiB."""

DEFAULT_SAMPLE_SIZE = 4096

_BLOCK_VALUES = 2**22
"""Values in a block of rows (32 MiB of float64), between the limits of `block_rows`."""


def block_rows(columns: int) -> int:
    """Returns how many rows are multiplied at once."""
    return int(np.clip(_BLOCK_VALUES // columns, 256, 4096))


class SufficientStatistics:
    """An accumulator of pairs of features and latents.

    Example::

        statistics = SufficientStatistics(features=512, latents=256)
        statistics.update(r, w, classes, row_ids)
        statistics = statistics.merge(other)

    Attributes:
        features: Number of units d.
        latents: Number of latent dimensions m.
        sample: A uniform sample of the pairs, for quantiles and nearest neighbours.
    """

    def __init__(self, features: int, latents: int, sample_size: int = DEFAULT_SAMPLE_SIZE) -> None:
        """Makes the statistics of no pairs.

        Args:
            features: Number of units, 1 to 8,192.
            latents: Number of latent dimensions, at least 1.
            sample_size: Most pairs kept as a sample, at least 0.

        Raises:
            InvalidArgumentError: For sizes out of range.
        """
        if features > MAX_FEATURES:
            raise InvalidArgumentError(
                f"{features} features are more than the {MAX_FEATURES} that streamed statistics "
                "take: use the dual form (services.linker.dual.fit_dual), or a layer with fewer",
                reason="TOO_MANY_FEATURES",
                field="features",
                features=features,
                limit=MAX_FEATURES,
            )
        if features < 1 or latents < 1 or sample_size < 0:
            raise InvalidArgumentError(
                f"{features} features, {latents} latents and a sample of {sample_size}: "
                "the first two must be at least 1, the last at least 0",
                reason="BAD_SIZES",
                field="features",
            )
        self.features = features
        self.latents = latents
        self.sample = BottomSample(sample_size, features, latents)
        self._moments = Moments.empty(features, latents)
        self._moments_are_shared = False
        self._class_sums = ClassSums.empty(features + latents)
        self._pending = 0
        self._rows: NDArray[np.float64] | None = None
        self._row_classes = np.empty(block_rows(features + latents), np.int64)

    def update(
        self,
        features: NDArray[np.floating],
        latents: NDArray[np.floating],
        classes: NDArray[np.integer],
        row_ids: NDArray[np.integer],
    ) -> None:
        """Takes a batch of pairs in; a refused batch changes nothing.

        Args:
            features: (n, d) finite numbers.
            latents: (n, m) finite numbers.
            classes: (n,) integers.
            row_ids: (n,) non-negative integers, unique over all pairs of all chunks.

        Raises:
            InvalidArgumentError: For shapes that do not fit, or NaN or infinite numbers
                (NON_FINITE_FEATURES, NON_FINITE_LATENTS).
        """
        batch = Batch.checked(features, latents, classes, row_ids, (self.features, self.latents))
        self.take(batch)

    def take(self, batch: Batch) -> None:
        """Takes a batch in that was checked already."""
        rows = len(batch.row_ids)
        if not rows:
            return
        self._widen(batch.minimum, batch.maximum)
        self.sample.offer(batch.features, batch.latents, batch.classes, batch.row_ids)
        block = len(self._row_classes)
        if self._rows is None:
            self._rows = np.empty((block, self.features + self.latents))
        start = 0
        while start < rows:
            taken = slice(start, min(rows, start + block - self._pending))
            target = slice(self._pending, self._pending + taken.stop - start)
            self._rows[target, : self.features] = batch.features[taken]
            self._rows[target, self.features :] = batch.latents[taken]
            self._row_classes[target] = batch.classes[taken]
            self._pending = target.stop
            start = taken.stop
            if self._pending == block:
                self._flush()

    def _own_scatter(self) -> NDArray[np.float64]:
        """Returns a scatter matrix that nobody else holds, to be changed in place."""
        if self._moments_are_shared:
            self._moments_are_shared = False
            return self._moments.scatter.copy(order="F")
        return self._moments.scatter

    def _widen(self, minimum: NDArray[np.float64], maximum: NDArray[np.float64]) -> None:
        old = self._moments
        self._moments = Moments(
            old.features,
            old.count,
            old.mean,
            old.scatter,
            np.minimum(old.minimum, minimum),
            np.maximum(old.maximum, maximum),
        )

    def _flush(self) -> None:
        """Moves the pending block into the moments and the class sums."""
        if not self._pending or self._rows is None:
            return
        rows, classes = self._rows[: self._pending], self._row_classes[: self._pending]
        mean = rows.mean(axis=0)
        rows -= mean
        self._class_sums = self._class_sums.merge(ClassSums.of(rows, mean, classes))
        old = self._moments
        count = old.count + self._pending
        shift = mean - old.mean
        scatter = add_rows(self._own_scatter(), rows)
        if old.count:
            scatter = add_outer(scatter, shift, old.count * self._pending / count)
        mean = old.mean + shift * (self._pending / count)
        self._moments = Moments(old.features, count, mean, scatter, old.minimum, old.maximum)
        self._pending = 0

    @property
    def count(self) -> int:
        """Number of pairs taken in."""
        return self._moments.count + self._pending

    @property
    def moments(self) -> Moments:
        """Count, mean, scatter and range of all pairs taken in so far; later updates leave it."""
        self._flush()
        self._moments_are_shared = True
        return self._moments

    @property
    def class_sums(self) -> ClassSums:
        """Counts and sums by class of all pairs taken in so far."""
        self._flush()
        return self._class_sums

    def merge(self, other: SufficientStatistics) -> SufficientStatistics:
        """Returns the statistics of both sets of pairs; neither is changed.

        Raises:
            InvalidArgumentError: When the widths or the sample sizes differ.
        """
        mine = (self.features, self.latents, self.sample.size)
        theirs = (other.features, other.latents, other.sample.size)
        if mine != theirs:
            raise InvalidArgumentError(
                f"statistics of (features, latents, sample size) {mine} and {theirs} do not "
                "merge: all three must be equal",
                reason="STATISTICS_MISMATCH",
                field="statistics",
            )
        merged = SufficientStatistics.__new__(SufficientStatistics)
        merged.features, merged.latents = self.features, self.latents
        merged.sample = self.sample.merge(other.sample)
        merged._moments = self.moments.merge(other.moments)
        merged._moments_are_shared = True
        merged._class_sums = self.class_sums.merge(other.class_sums)
        merged._pending, merged._rows = 0, None
        merged._row_classes = np.empty_like(self._row_classes)
        return merged

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Returns arrays that `from_tensors` rebuilds the statistics from.

        The scatter matrix travels as its packed upper triangle.
        """
        moments, classes, sample = self.moments, self.class_sums, self.sample
        packed, _ = lapack.dtrttp(moments.scatter)
        sizes = [self.features, self.latents, sample.size, moments.count]
        return {
            "sizes": np.array(sizes, np.int64),
            "mean": moments.mean.copy(),
            "scatter": packed,
            "minimum": moments.minimum.copy(),
            "maximum": moments.maximum.copy(),
            "class_ids": classes.ids.copy(),
            "class_counts": classes.counts.copy(),
            "class_sums": classes.sums.copy(),
            "sample_features": sample.features,
            "sample_latents": sample.latents,
            "sample_classes": sample.classes,
            "sample_row_ids": sample.row_ids,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> SufficientStatistics:
        """Rebuilds statistics from `to_tensors`.

        Raises:
            DataLossError: When an array is missing or has the wrong length.
        """
        try:
            features, latents, size, count = (int(value) for value in tensors["sizes"])
            statistics = cls(features, latents, size)
            columns = features + latents
            scatter, _ = lapack.dtpttr(columns, _checked(tensors, "scatter", columns * (columns + 1) // 2))
            statistics._moments = Moments(
                features,
                count,
                _checked(tensors, "mean", columns),
                np.asfortranarray(scatter),
                _checked(tensors, "minimum", columns),
                _checked(tensors, "maximum", columns),
            )
            statistics._class_sums = ClassSums(
                tensors["class_ids"].astype(np.int64),
                tensors["class_counts"].astype(np.int64),
                tensors["class_sums"].astype(np.float64).reshape(-1, columns),
            )
            statistics.sample.offer(
                tensors["sample_features"].astype(np.float32).reshape(-1, features),
                tensors["sample_latents"].astype(np.float32).reshape(-1, latents),
                tensors["sample_classes"].astype(np.int64),
                tensors["sample_row_ids"].astype(np.uint64),
            )
        except (KeyError, ValueError, IndexError) as error:
            raise DataLossError(
                f"the stored statistics are incomplete ({error!r}): accumulate them again",
                reason="MALFORMED_STATISTICS",
            ) from error
        return statistics


def _checked(tensors: Mapping[str, NDArray[np.generic]], name: str, size: int) -> NDArray[np.float64]:
    array = tensors[name].astype(np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} has shape {array.shape} instead of ({size},)")
    return array
