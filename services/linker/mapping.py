"""The linker as a value: an affine map, where it came from, and what is usual for its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.linker.batches import check_matrix
from unitscope.errors import DataLossError

Array = NDArray[np.float64]

QUANTILE_LEVELS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Affine:
    """The map `w = A r + b`.

    Attributes:
        weight: (m, d) the matrix A.
        intercept: (m,) the vector b.
    """

    weight: Array
    intercept: Array

    def apply(self, features: NDArray[np.floating]) -> Array:
        """Maps features (n, d) to latents (n, m), in float64.

        Raises:
            InvalidArgumentError: For another width, or numbers that are not finite.
        """
        rows = len(features) if features.ndim else 0
        check_matrix(features, (rows, self.weight.shape[1]), "features")
        return features.astype(np.float64) @ self.weight.T + self.intercept


@dataclass(frozen=True)
class Linker(Affine):
    """A fitted linker.

    Attributes:
        penalty: The penalty chosen, on the scale that `fit` was asked for.
        penalties: (p,) those tried.
        cv_errors: (p,) their cross-validated mean squared error per latent dimension.
        count: Pairs that it was fitted to.
        feature_mean: (d,).
        feature_std: (d,) population standard deviation.
        feature_min: (d,) exact.
        feature_max: (d,) exact.
        quantile_levels: (q,) from 0 to 1.
        feature_quantiles: (q, d) of the sample; exact at the levels 0 and 1.
        latent_mean: (m,).
        latent_covariance: (m, m) unbiased.
        latent_distance_quantiles: (q,) quantiles over the sample of the Mahalanobis distance of
            the generator's own w, each left out of what it is measured by: what
            `services.linker.plausibility` is compared with.
    """

    penalty: float
    penalties: Array
    cv_errors: Array
    count: int
    feature_mean: Array
    feature_std: Array
    feature_min: Array
    feature_max: Array
    quantile_levels: Array
    feature_quantiles: Array
    latent_mean: Array
    latent_covariance: Array
    latent_distance_quantiles: Array

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Returns every attribute as an array, scalars as arrays of no dimension."""
        return {field.name: np.array(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Linker:
        """Rebuilds a linker from `to_tensors`.

        Raises:
            DataLossError: When an array is missing or its shape does not fit the others.
        """
        missing = [field.name for field in fields(cls) if field.name not in tensors]
        if missing:
            raise DataLossError(
                f"the stored linker lacks {', '.join(missing)}: fit it again",
                reason="MALFORMED_LINKER",
            )
        arrays = {field.name: tensors[field.name].astype(np.float64) for field in fields(cls)}
        latents, features = arrays["weight"].shape if arrays["weight"].ndim == 2 else (0, 0)
        levels = arrays["quantile_levels"].size
        expected = {
            "intercept": (latents,),
            "feature_min": (features,),
            "feature_max": (features,),
            "feature_quantiles": (levels, features),
            "latent_covariance": (latents, latents),
        }
        wrong = [name for name, shape in expected.items() if arrays[name].shape != shape]
        if wrong or not latents:
            raise DataLossError(
                f"the stored linker's {', '.join(wrong or ['weight'])} do not fit its other "
                "arrays: fit it again",
                reason="MALFORMED_LINKER",
            )
        scalars = {"penalty": float(arrays.pop("penalty")), "count": int(arrays.pop("count"))}
        return cls(**arrays, **scalars)  # type: ignore[arg-type]
