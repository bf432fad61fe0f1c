"""The tables as arrays: units in rows, (part, measure) in columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError
from unitscope.names import did_you_mean

LOGIT = "logit"
"""The part under which effects on class logits stand."""
PICTURE = "picture"
"""The part that is the whole picture, and so holds what happens in every other."""
CONFIRMED = "confirm"

_NEEDED = {
    "effects": ("unit", "part", "measure", "stage", "effect", "standardised", "q", "selectivity", "status"),
    "units": ("unit", "group", "layer", "trust", "trusted", "cluster"),
}


@dataclass(frozen=True)
class Grid:
    """Effects of all units on all columns.

    Attributes:
        effects: The table ``effects``.
        units: The table ``units``, its rows in the order of `numbers`.
        numbers: int64 (units,): the units' numbers, rising; groups are negative.
        columns: A (part, measure) each; for class logits ``("logit", class)``.
        rows: int64 (units, columns): the row of ``effects``, -1 where there is none.
        signed: bool (columns,): whether a change in the column has a direction.
        confirmed: bool (units,): whether the unit was measured on the many images.
        trusted: bool (units,).
    """

    effects: pa.Table
    units: pa.Table
    numbers: NDArray[np.int64]
    columns: tuple[tuple[str, str], ...]
    rows: NDArray[np.int64]
    signed: NDArray[np.bool_]
    confirmed: NDArray[np.bool_]
    trusted: NDArray[np.bool_]

    def values(self, name: str) -> NDArray[np.float64]:
        """A column of ``effects`` as float64 (units, columns); NaN where nothing was measured."""
        flat = self.effects.column(name).to_numpy().astype(np.float64)
        padded = np.append(flat, np.nan)
        return np.asarray(padded[self.rows])  # Row -1 is the last one, NaN.

    @property
    def parts(self) -> NDArray[np.str_]:
        """The part of each column."""
        return np.array([part for part, _ in self.columns], dtype=np.str_)

    @property
    def measures(self) -> NDArray[np.str_]:
        """The measure of each column."""
        return np.array([measure for _, measure in self.columns], dtype=np.str_)

    @property
    def in_picture(self) -> NDArray[np.bool_]:
        """Bool (columns,): parts and measures, not class logits."""
        return np.asarray(self.parts != LOGIT)

    def index(self, unit: int) -> int:
        """The place of a unit.

        Raises:
            InvalidArgumentError: There is no such unit (reason UNKNOWN_UNIT).
        """
        found = int(np.searchsorted(self.numbers, unit))
        if found == len(self.numbers) or self.numbers[found] != unit:
            nearest = sorted(self.numbers.tolist(), key=lambda number: (abs(number - unit), number))[:5]
            raise InvalidArgumentError(
                f"the job did not move unit {unit}; it moved {len(self.numbers)} units, of which the "
                f"nearest are {', '.join(map(str, sorted(nearest))) or 'none'}",
                reason="UNKNOWN_UNIT",
                field="unit",
                unit=unit,
            )
        return found

    def profiles(self) -> NDArray[np.float64]:
        """Standardised effects on all signed columns of the picture, NaN as 0: (units, those columns)."""
        return np.nan_to_num(self.values("standardised")[:, self.profile_columns])

    @property
    def profile_columns(self) -> NDArray[np.int64]:
        """The columns of `profiles`. Unsigned ones would make all units look alike."""
        return np.flatnonzero(self.in_picture & self.signed)


def grid_of(effects: pa.Table, units: pa.Table) -> Grid:
    """Arranges the tables ``effects`` and ``units`` of one job.

    Raises:
        InvalidArgumentError: They are not the tables of a quantify job (reason NOT_QUANTIFIED), or not
            of one job (reason TABLES_DIFFER).
    """
    for name, table in (("effects", effects), ("units", units)):
        missing = set(_NEEDED[name]) - set(table.column_names)
        if missing:
            raise InvalidArgumentError(
                f"the table {name!r} lacks {', '.join(sorted(missing))}; the tables of a 'quantify' job "
                "have them, those of other kinds do not",
                reason="NOT_QUANTIFIED",
                field=name,
            )
    units = units.sort_by("unit")
    numbers = units.column("unit").to_numpy().astype(np.int64)
    parts, part_names = _codes(effects.column("part"))
    measures, measure_names = _codes(effects.column("measure"))
    pairs, column = np.unique(parts * max(1, len(measure_names)) + measures, return_inverse=True)
    columns = [
        (part_names[pair // len(measure_names)], measure_names[pair % len(measure_names)]) for pair in pairs
    ]
    # By name, so that ties fall the same way whatever the order of the rows.
    order = np.array(sorted(range(len(columns)), key=columns.__getitem__), np.int64)
    moved = effects.column("unit").to_numpy().astype(np.int64)
    place = np.searchsorted(numbers, moved)
    if len(np.unique(numbers)) < len(numbers) or not np.isin(moved, numbers).all():
        raise InvalidArgumentError(
            "the tables do not belong together: 'units' must hold every unit of 'effects' once; take both "
            "from one job",
            reason="TABLES_DIFFER",
        )
    stage = _equal(effects, "stage", CONFIRMED)
    rows = np.full((len(numbers), len(pairs)), -1, np.int64)
    # Where a unit was measured twice, the later assignment wins: that on the many images.
    last = np.argsort(stage, kind="stable")
    rows[place[last], column[last]] = last
    # By the measure's name: in a part that is always too small, no row says that it is unsigned.
    no_sign = {measure_names[code] for code in np.unique(measures[_equal(effects, "status", "unsigned")])}
    signed = np.array([part == LOGIT or measure not in no_sign for part, measure in columns], bool)
    confirmed = np.zeros(len(numbers), bool)
    confirmed[place[stage]] = True
    return Grid(
        effects=effects,
        units=units,
        numbers=numbers,
        columns=tuple(columns[index] for index in order),
        rows=rows[:, order],
        signed=signed[order],
        confirmed=confirmed,
        trusted=pc.fill_null(units.column("trusted"), False).to_numpy(),
    )


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """The name, if it is one of those.

    Raises:
        InvalidArgumentError: It is none; the message lists all, the nearest first (reason
            UNKNOWN_PART, UNKNOWN_MEASURE or UNKNOWN_CLASS).
    """
    there = list(dict.fromkeys(names))
    if name in there:
        return name
    raise InvalidArgumentError(
        f"there is no {kind} {name!r}; {did_you_mean(name, there)}there are: {', '.join(there) or 'none'}",
        reason=f"UNKNOWN_{kind.upper()}",
        field=kind,
        name=name,
    )


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Small integers for texts, and what they stand for."""
    array = column.combine_chunks().dictionary_encode()
    return array.indices.to_numpy().astype(np.int64), array.dictionary.to_pylist()


def _equal(table: pa.Table, column: str, value: str) -> NDArray[np.bool_]:
    """Bool (rows,): where a column of texts has the value."""
    return np.asarray(pc.equal(table.column(column), value).to_numpy(), bool)
