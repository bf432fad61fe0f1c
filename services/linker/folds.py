"""Statistics split into cross-validation folds by row id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from services.linker.batches import Batch
from services.linker.sampling import assign_folds
from services.linker.statistics import DEFAULT_SAMPLE_SIZE, SufficientStatistics
from unitscope.errors import DataLossError, InvalidArgumentError


class FoldedStatistics:
    """One `SufficientStatistics` a fold; rows find their fold by their ids.

    Attributes:
        folds: The statistics of each fold, for `services.linker.ridge.fit`.
    """

    def __init__(
        self, folds: int, features: int, latents: int, sample_size: int = DEFAULT_SAMPLE_SIZE
    ) -> None:
        """Makes empty folds.

        Args:
            folds: Number of folds, at least 2.
            features: Number of units, 1 to 8,192.
            latents: Number of latent dimensions.
            sample_size: Most pairs sampled over all folds; each fold keeps its share, rounded up.

        Raises:
            InvalidArgumentError: For sizes out of range.
        """
        assign_folds(np.empty(0, np.int64), folds)
        share = -(-sample_size // folds)
        self.folds: Sequence[SufficientStatistics] = tuple(
            SufficientStatistics(features, latents, share) for _ in range(folds)
        )

    def update(
        self,
        features: NDArray[np.floating],
        latents: NDArray[np.floating],
        classes: NDArray[np.integer],
        row_ids: NDArray[np.integer],
    ) -> None:
        """Takes a batch in, as `SufficientStatistics.update` does; a refused one changes nothing."""
        first = self.folds[0]
        sizes = (first.features, first.latents)
        batch = Batch.checked(features, latents, classes, row_ids, sizes)
        fold_of_row = assign_folds(batch.row_ids, len(self.folds))
        for index, fold in enumerate(self.folds):
            fold.take(batch.part(np.flatnonzero(fold_of_row == index)))

    @property
    def count(self) -> int:
        """Number of pairs taken in, over all folds."""
        return sum(fold.count for fold in self.folds)

    def merge(self, other: FoldedStatistics) -> FoldedStatistics:
        """Returns the folds of both sets of pairs; neither is changed.

        Raises:
            InvalidArgumentError: When the number of folds or any size differs.
        """
        if len(self.folds) != len(other.folds):
            raise InvalidArgumentError(
                f"statistics of {len(self.folds)} and {len(other.folds)} folds do not merge: "
                "accumulate both with the same number",
                reason="STATISTICS_MISMATCH",
                field="folds",
            )
        pairs = zip(self.folds, other.folds, strict=True)
        return self._of([mine.merge(theirs) for mine, theirs in pairs])

    @classmethod
    def _of(cls, folds: Sequence[SufficientStatistics]) -> FoldedStatistics:
        folded = cls.__new__(cls)
        folded.folds = tuple(folds)
        return folded

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Returns arrays that `from_tensors` rebuilds the folds from, named `fold<k>.<name>`."""
        return {
            f"fold{index}.{name}": tensor
            for index, fold in enumerate(self.folds)
            for name, tensor in fold.to_tensors().items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> FoldedStatistics:
        """Rebuilds folds from `to_tensors`.

        Raises:
            DataLossError: When an array is missing or has the wrong length.
        """
        grouped: dict[str, dict[str, NDArray[np.generic]]] = {}
        for key, tensor in tensors.items():
            fold, _, name = key.partition(".")
            grouped.setdefault(fold, {})[name] = tensor
        names = [f"fold{index}" for index in range(len(grouped))]
        if len(names) < 2 or set(names) != set(grouped):
            raise DataLossError(
                f"the stored statistics hold the parts {sorted(grouped)}: "
                "they must be fold0, fold1 and so on, at least two",
                reason="MALFORMED_STATISTICS",
            )
        return cls._of([SufficientStatistics.from_tensors(grouped[name]) for name in names])
