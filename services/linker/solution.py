"""A solution: the fitted linker, its baselines, and how it applies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from services.linker.baselines import (
    ClassMeans,
    ComponentRidge,
    NearestNeighbour,
    fit_component_ridge,
)
from services.linker.classes import ClassSums
from services.linker.mapping import Affine, Linker
from services.linker.plausibility import mahalanobis, whitener
from services.linker.ridge import fit
from services.linker.statistics import SufficientStatistics
from unitscope.errors import DataLossError, InvalidArgumentError

Array = NDArray[np.float64]

QUANTILE_LEVELS = tuple(float(level) for level in np.linspace(0.0, 1.0, 101))
METHODS = ("linker", "class_mean", "nearest_neighbour", "principal_components")


@dataclass(frozen=True)
class Solution:
    """All that one fit gives.

    Attributes:
        linker: The linker.
        class_means: Baseline: the mean w of the class.
        nearest: Baseline: the w of the nearest sample.
        components: Baseline: ridge regression on principal components.
    """

    linker: Linker
    class_means: ClassMeans
    nearest: NearestNeighbour
    components: ComponentRidge

    @classmethod
    def fit(cls, folds: Sequence[SufficientStatistics], penalties: Sequence[float]) -> Solution:
        """Fits linker and baselines to the statistics of the folds. Raises like `ridge.fit`."""
        moments = [fold.moments for fold in folds]
        return cls(
            fit(folds, penalties, quantile_levels=QUANTILE_LEVELS),
            ClassMeans.of(folds),
            NearestNeighbour.of(folds),
            fit_component_ridge(moments, penalties=penalties),
        )

    def apply(
        self,
        features: NDArray[np.floating],
        method: str = "linker",
        classes: NDArray[np.integer] | None = None,
    ) -> Array:
        """Latents (n, m) of features (n, d), by the linker or a baseline.

        Args:
            features: Finite numbers.
            method: One of `METHODS`.
            classes: (n,) what ``class_mean`` needs.

        Raises:
            InvalidArgumentError: The method is unknown, the width is wrong, or classes are missing.
        """
        if method == "class_mean":
            if classes is None or len(classes) != len(features):
                raise InvalidArgumentError(
                    f"class_mean needs a class for each of the {len(features)} rows",
                    reason="CLASSES_MISSING",
                    field="classes",
                )
            return self.class_means.predict(classes)
        if method == "nearest_neighbour":
            self.linker.apply(features[:1])
            return self.nearest.predict(features)
        affine: dict[str, Affine] = {"linker": self.linker, "principal_components": self.components}
        if method not in affine:
            raise InvalidArgumentError(
                f"there is no method {method[:40]!r}; there are: {', '.join(METHODS)}",
                reason="UNKNOWN_METHOD",
                field="method",
            )
        return affine[method].apply(features)

    def distances(self, latents: NDArray[np.floating]) -> Array:
        """Mahalanobis distance of latents (n, m) from the fit's own, over the root of m: (n,)."""
        linker = self.linker
        root = float(np.sqrt(len(linker.latent_mean)))
        return mahalanobis(latents, linker.latent_mean, linker.latent_covariance) / root

    def to_bytes(self) -> bytes:
        """The solution as safetensors."""
        sums = self.class_means.sums
        tensors: dict[str, NDArray[np.generic]] = {
            **self.linker.to_tensors(),
            "latent_whitener": whitener(self.linker.latent_covariance),
            "class_ids": sums.ids,
            "class_counts": sums.counts,
            "class_sums": sums.sums,
            "neighbour_features": self.nearest.features,
            "neighbour_latents": self.nearest.latents,
            "neighbour_scale": self.nearest.scale,
            "components_weight": self.components.weight,
            "components_intercept": self.components.intercept,
            "components_cv_errors": self.components.cv_errors,
            "components_choice": np.array([self.components.components, self.components.penalty]),
        }
        return bytes(save({name: np.asarray(t, order="C") for name, t in tensors.items()}))

    @classmethod
    def from_bytes(cls, data: bytes) -> Solution:
        """Rebuilds a solution.

        Raises:
            DataLossError: The bytes are no solution.
        """
        try:
            tensors: Mapping[str, NDArray[np.generic]] = load(data)
            linker = Linker.from_tensors(tensors)
            return cls(
                linker,
                ClassMeans(
                    ClassSums(
                        tensors["class_ids"].astype(np.int64),
                        tensors["class_counts"].astype(np.int64),
                        tensors["class_sums"].astype(np.float64),
                    ),
                    linker.weight.shape[1],
                ),
                NearestNeighbour(
                    tensors["neighbour_features"].astype(np.float32),
                    tensors["neighbour_latents"].astype(np.float32),
                    tensors["neighbour_scale"].astype(np.float64),
                ),
                ComponentRidge(
                    weight=tensors["components_weight"].astype(np.float64),
                    intercept=tensors["components_intercept"].astype(np.float64),
                    components=int(tensors["components_choice"].astype(np.float64)[0]),
                    penalty=float(tensors["components_choice"].astype(np.float64)[1]),
                    cv_errors=tensors["components_cv_errors"].astype(np.float64),
                ),
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise DataLossError(
                f"the stored solution is incomplete ({error!r}): fit it again",
                reason="MALFORMED_SOLUTION",
            ) from error
