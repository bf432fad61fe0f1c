"""What a linker must beat: class means, the nearest neighbour, and fewer components.

All three are built from the same statistics as the linker, so from the same training pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.linker.classes import ClassSums
from services.linker.mapping import Affine
from services.linker.moments import Moments
from services.linker.ridge import PENALTIES, PenaltyScale, absolute_factor, check_penalties
from services.linker.spectrum import eigensystem, fold_spectra, merge_all
from services.linker.statistics import SufficientStatistics
from unitscope.errors import InvalidArgumentError

Array = NDArray[np.float64]

_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class ClassMeans:
    """Predicts the mean w of a picture's class, whatever its features.

    Attributes:
        sums: Per-class sums of the training pairs.
        features: Number d of their columns that are features.
    """

    sums: ClassSums
    features: int

    @classmethod
    def of(cls, folds: Sequence[SufficientStatistics]) -> ClassMeans:
        """Takes the class means of all folds together."""
        sums = folds[0].class_sums
        for fold in folds[1:]:
            sums = sums.merge(fold.class_sums)
        return cls(sums, folds[0].features)

    def predict(self, classes: NDArray[np.integer]) -> Array:
        """Returns the class means (n, m) of w for classes (n,).

        Raises:
            InvalidArgumentError: For a class without training pairs.
        """
        rows = self.sums.rows_of(np.asarray(classes).astype(np.int64))
        means: Array = self.sums.means[rows, self.features :]
        return means


@dataclass(frozen=True)
class NearestNeighbour:
    """Predicts the w of the most similar picture of the training sample, of any class.

    Distances are Euclidean between features divided by their standard deviation over all training
    pairs; units that never vary are left out.

    Attributes:
        features: (sample, d).
        latents: (sample, m).
        scale: (d,) what features are multiplied by.
    """

    features: NDArray[np.float32]
    latents: NDArray[np.float32]
    scale: Array

    @classmethod
    def of(cls, folds: Sequence[SufficientStatistics]) -> NearestNeighbour:
        """Takes the samples of all folds together.

        Raises:
            InvalidArgumentError: When no sample was kept.
        """
        features = np.concatenate([fold.sample.features for fold in folds])
        if not len(features):
            raise InvalidArgumentError(
                "the statistics hold no sample: accumulate with a sample_size above 0",
                reason="NO_SAMPLE",
                field="sample_size",
            )
        total = merge_all([fold.moments for fold in folds])
        deviation = np.sqrt(total.feature_variance)
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=total.active)
        latents = np.concatenate([fold.sample.latents for fold in folds])
        return cls(features, latents, scale)

    def predict(self, features: NDArray[np.floating]) -> Array:
        """Returns the latents (n, m) of the nearest sample row of each of (n, d) features."""
        sample = self.features * self.scale
        # Centring costs the distances nothing and saves digits in their expanded form.
        centre = sample.mean(axis=0)
        sample -= centre
        squares = np.einsum("sd,sd->s", sample, sample)
        nearest = np.empty(len(features), np.intp)
        for start in range(0, len(features), _CHUNK_ROWS):
            rows = features[start : start + _CHUNK_ROWS] * self.scale - centre
            nearest[start : start + _CHUNK_ROWS] = (squares - 2.0 * rows @ sample.T).argmin(axis=1)
        return self.latents[nearest].astype(np.float64)


@dataclass(frozen=True)
class ComponentRidge(Affine):
    """Ridge regression on the principal components of largest variance; affine like the linker.

    Attributes:
        components: Number of components chosen.
        penalty: Penalty chosen.
        cv_errors: (candidates of components, candidates of penalties) mean squared errors.
    """

    components: int
    penalty: float
    cv_errors: Array


def component_candidates(features: int) -> tuple[int, ...]:
    """Returns the powers of two up to half the number of features: fewer than the linker uses."""
    return tuple(2**power for power in range(max(features.bit_length() - 1, 1)))


def fit_component_ridge(
    folds: Sequence[Moments],
    components: Sequence[int] | None = None,
    penalties: Sequence[float] = PENALTIES,
    scale: PenaltyScale = "relative",
) -> ComponentRidge:
    """Selects components and penalty together on the linker's own folds, and fits to all.

    Args:
        folds: Moments of each fold.
        components: Candidates, at least 1; by default `component_candidates`. The components of a
            fold are those of its own training rows: nothing of the held-out rows leaks.
        penalties: Candidates, not negative.
        scale: What they count in.

    Raises:
        InvalidArgumentError: For bad candidates or folds.
    """
    values = check_penalties(penalties)
    counts = component_candidates(folds[0].features) if components is None else tuple(components)
    if not counts or min(counts) < 1:
        raise InvalidArgumentError(
            f"components {counts}: there must be at least one candidate, each at least 1",
            reason="BAD_COMPONENTS",
            field="components",
        )
    errors = np.zeros((len(counts), len(values)))
    total = merge_all(folds)
    for spectrum in fold_spectra(folds, total):
        system = spectrum.training
        absolute = values * absolute_factor(system.count, system.mean_variance, scale)
        for row, count in enumerate(counts):
            errors[row] += spectrum.squared_errors(system.ridge_filters(absolute, count))
    row, column = divmod(int(errors.argmin()), len(values))
    system = eigensystem(total)
    factor = absolute_factor(system.count, system.mean_variance, scale)
    filters = system.ridge_filters(values[column : column + 1] * factor, counts[row])
    weight = system.weight(filters[0])
    d = total.features
    return ComponentRidge(
        weight=weight,
        intercept=total.mean[d:] - weight @ total.mean[:d],
        components=counts[row],
        penalty=float(values[column]),
        cv_errors=errors / (total.count * total.latents),
    )
