"""What is measured: the columns of effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.tables import Column, Table
from unitscope.tables.schema import FLOAT
from workers.measures import MEASURES, PICTURE
from workers.statistics import scales

LOGIT = "logit"
"""Stands for the logits where a part is named."""

LOOK = ("colour", "texture")
"""Aspects of how a part looks; all others are of its form."""
CELLS = ("look", "form")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """The columns of effects: every measure of every part.

    Attributes:
        parts: Names of the parts, the whole picture last.
        part: int64 (columns,) index into `parts`.
        measure: int64 (columns,) index into `MEASURES`.
        periods: (columns,) of circular measures, else 0.
        signed: (columns,) whether the measure can go either way.
        clear: (columns,) a change that one would call clear, in the measure's unit.
        cell: int64 (columns,) 2 * part for its look (colour, texture), 2 * part + 1 for its form (size,
            shape, position, count); -1 for the whole picture and for changes without direction.
    """

    parts: tuple[str, ...]
    part: NDArray[np.int64]
    measure: NDArray[np.int64]
    periods: Array
    signed: NDArray[np.bool_]
    clear: Array
    cell: NDArray[np.int64]

    @classmethod
    def of(cls, parts: tuple[str, ...]) -> Columns:
        """The columns for a parts model."""
        names = (*parts, PICTURE)
        part = np.repeat(np.arange(len(names)), len(MEASURES))
        form = np.tile([item.aspect not in LOOK for item in MEASURES], len(names))
        signed = np.tile([item.signed for item in MEASURES], len(names))
        return cls(
            names,
            part,
            np.tile(np.arange(len(MEASURES)), len(names)),
            np.tile([float(item.period) for item in MEASURES], len(names)),
            signed,
            np.tile([item.clear for item in MEASURES], len(names)),
            np.where(signed & (part < len(parts)), 2 * part + form, -1),
        )

    def scale(self, values: NDArray[Any]) -> Array:
        """What changes are divided by to be compared, (columns,); NaN for those without direction.

        The standard deviation of each measure among base images, and no less than a clear change: the root
        of the sum of their squares.

        Args:
            values: Measures of base images, (images, ...) with the columns flattened.
        """
        spread = np.nan_to_num(scales(values.reshape(len(values), len(self)), self.periods))
        return np.where(self.signed, np.hypot(spread, self.clear), np.nan)

    def extending(self, table: Table, of: str = "") -> Table:
        """The table with one more column, ``<part>.<measure>``, for each of these.

        Args:
            table: The columns that do not depend on the parts.
            of: What of the measure the columns hold, e.g. ``change``; the measure itself if empty.
        """
        what = f"{of} of: " if of else ""
        return table.extended(
            [
                Column(
                    f"{self.parts[part]}.{MEASURES[index].name}",
                    FLOAT,
                    MEASURES[index].unit,
                    f"{self.parts[part]}: {what}{MEASURES[index].meaning}",
                    nullable=True,
                )
                for part, index in zip(self.part.tolist(), self.measure.tolist(), strict=True)
            ]
        )

    def __len__(self) -> int:
        """How many columns."""
        return len(self.part)
