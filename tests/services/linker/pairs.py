"""Random pairs of features and latents with a known linear relation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.linker.folds import FoldedStatistics
from services.linker.sampling import assign_folds


@dataclass(frozen=True)
class Pairs:
    """Pairs, and the map that made them."""

    features: NDArray[np.float32]
    latents: NDArray[np.float32]
    classes: NDArray[np.int64]
    row_ids: NDArray[np.int64]
    weight: NDArray[np.float64]
    intercept: NDArray[np.float64]

    def folds(self, count: int = 4, sample_size: int = 64) -> FoldedStatistics:
        """Statistics of all pairs, taken in at once."""
        d, m = self.features.shape[1], self.latents.shape[1]
        statistics = FoldedStatistics(count, d, m, sample_size)
        statistics.update(self.features, self.latents, self.classes, self.row_ids)
        return statistics

    def fold_of_row(self, count: int = 4) -> NDArray[np.int64]:
        """Which fold each row is in."""
        return assign_folds(self.row_ids, count)


def make_pairs(
    seed: int, rows: int = 240, d: int = 12, m: int = 5, noise: float = 0.5, offset: float = 0.0
) -> Pairs:
    """Draws correlated non-negative features of three classes, and w = A r + b + noise."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, rows) * 7 + 1
    mixing = rng.standard_normal((d, d)) * np.geomspace(1.0, 0.1, d)
    features = np.maximum(rng.standard_normal((rows, d)) @ mixing + (classes % 5)[:, None], 0.0)
    features = (features + offset).astype(np.float32)
    weight, intercept = rng.standard_normal((m, d)), rng.standard_normal(m)
    exact = (features - offset) @ weight.T + intercept
    latents = (exact + noise * rng.standard_normal((rows, m))).astype(np.float32)
    return Pairs(features, latents, classes, np.arange(rows) * 3 + 5, weight, intercept)
