"""A batch of pairs whose shapes and numbers have been checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.linker.sampling import as_row_ids
from unitscope.errors import InvalidArgumentError


@dataclass(frozen=True)
class Batch:
    """Checked pairs of features and latents.

    Attributes:
        features: (n, d) finite.
        latents: (n, m) finite.
        classes: (n,).
        row_ids: (n,).
    """

    features: NDArray[np.floating]
    latents: NDArray[np.floating]
    classes: NDArray[np.int64]
    row_ids: NDArray[np.uint64]

    @classmethod
    def checked(
        cls,
        features: NDArray[np.floating],
        latents: NDArray[np.floating],
        classes: NDArray[np.integer],
        row_ids: NDArray[np.integer],
        sizes: tuple[int, int],
    ) -> Batch:
        """Checks a batch against the widths (d, m).

        Raises:
            InvalidArgumentError: For shapes or types that do not fit (BAD_SHAPE, BAD_ROW_IDS), or
                NaN or infinite numbers (NON_FINITE_FEATURES, NON_FINITE_LATENTS).
        """
        rows = len(features) if features.ndim else 0
        check_matrix(features, (rows, sizes[0]), "features")
        check_matrix(latents, (rows, sizes[1]), "latents")
        if classes.shape != (rows,) or classes.dtype.kind not in "iu":
            raise InvalidArgumentError(
                f"classes have shape {classes.shape} and type {classes.dtype}: "
                f"they must be {rows} integers, one a row",
                reason="BAD_SHAPE",
                field="classes",
            )
        ids = as_row_ids(row_ids, rows)
        return cls(features, latents, classes.astype(np.int64), ids)

    def part(self, rows: NDArray[np.intp]) -> Batch:
        """Returns the given rows."""
        return Batch(self.features[rows], self.latents[rows], self.classes[rows], self.row_ids[rows])

    @property
    def minimum(self) -> NDArray[np.float64]:
        """(d + m,) smallest value of each column."""
        low = [self.features.min(axis=0), self.latents.min(axis=0)]
        return np.concatenate(low, dtype=np.float64)

    @property
    def maximum(self) -> NDArray[np.float64]:
        """(d + m,) largest value of each column."""
        high = [self.features.max(axis=0), self.latents.max(axis=0)]
        return np.concatenate(high, dtype=np.float64)


def check_matrix(values: NDArray[np.floating], shape: tuple[int, int], name: str) -> None:
    """Refuses a matrix of another shape, of another kind than floating point, or not finite.

    Args:
        values: The matrix.
        shape: What its shape must be.
        name: What it is called, such as `features` or `linker.latents`.

    Raises:
        InvalidArgumentError: BAD_SHAPE, or NON_FINITE_ and the last part of the name.
    """
    if values.shape != shape or values.dtype.kind != "f":
        raise InvalidArgumentError(
            f"{name} have shape {values.shape} and type {values.dtype}: "
            f"they must be floating-point numbers of shape {shape}",
            reason="BAD_SHAPE",
            field=name,
        )
    finite = np.isfinite(values)
    if finite.all():
        return
    row, column = (int(index) for index in np.argwhere(~finite)[0])
    raise InvalidArgumentError(
        f"{name}[{row}, {column}] is {values[row, column]}: every number must be finite",
        reason=f"NON_FINITE_{name.rpartition('.')[2].upper()}",
        field=name,
        row=row,
        column=column,
    )
