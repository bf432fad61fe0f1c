"""Units that do alike: the neighbours of one, and clusters of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError
from unitscope.selection.grid import Grid, grid_of
from unitscope.tables import QUANTIFIED_UNITS, Column, Table

_UNIT = {column.name: column for column in QUANTIFIED_UNITS.columns}
_TEXT, _DOUBLE = pa.string(), pa.float64()
_SD = "standard deviation"

RESEMBLING = Table(
    "resembling",
    "Units whose effects resemble those of one unit, the most alike first.",
    (
        *(_UNIT[name] for name in ("unit", "group", "layer")),
        Column("cosine", _DOUBLE, "", "Cosine of the two units' standardised effects, -1 to 1."),
        Column("common_part", _TEXT, "", "Where both do most: the part.", nullable=True),
        Column("common_measure", _TEXT, "", "Where both do most: the measure.", nullable=True),
        Column("common_standardised", _DOUBLE, _SD, "This unit's effect there.", nullable=True),
        Column("common_reference", _DOUBLE, _SD, "The given unit's effect there.", nullable=True),
        *(_UNIT[name] for name in ("stage", "trust", "trusted")),
    ),
)
"""The columns of `resembling`."""

CLUSTERS = Table(
    "clusters",
    "Clusters of units with like effects, the largest first.",
    (
        Column("cluster", pa.int32(), "", "The cluster's number."),
        Column("size", pa.int32(), "units", "Units in it."),
        Column("members", pa.list_(pa.int32()), "", "Its units, the most typical first."),
        Column("cohesion", _DOUBLE, "", "Mean cosine between a member and the cluster's mean."),
        Column("part", _TEXT, "", "What the members have most in common: the part."),
        Column("measure", _TEXT, "", "What they have most in common: the measure."),
        Column("standardised", _DOUBLE, _SD, "Their mean effect there."),
        Column("same_sign", _DOUBLE, "share", "Share of members whose effect there has that sign."),
        Column("also_part", _TEXT, "", "What they have in common next, in another part.", nullable=True),
        Column("also_measure", _TEXT, "", "Its measure.", nullable=True),
        Column("also_standardised", _DOUBLE, _SD, "Their mean effect there.", nullable=True),
    ),
)
"""The columns of `clusters`."""


def resembling(
    effects: pa.Table,
    units: pa.Table,
    unit: int,
    top: int = 20,
    *,
    include_untrusted: bool = False,
    confirmed_only: bool = True,
) -> pa.Table:
    """Units whose effects resemble those of one unit.

    Alike means: the cosine of their standardised effects on all parts and measures that have a
    direction, what was too small to measure counting as no effect. Class logits do not count.

    Args:
        effects: The table ``effects`` of a quantify job.
        units: The table ``units`` of the same job.
        unit: The unit to compare with; it may be untrusted or unconfirmed itself, and is not listed.
        top: Rows at most.
        include_untrusted: Also units that are not trusted.
        confirmed_only: Only units measured on the many images.

    Returns:
        The columns of `RESEMBLING`.

    Raises:
        InvalidArgumentError: The unit is unknown, nothing of it could be measured (reason
            NO_EFFECTS), or `top` is below 1.
    """
    if top < 1:
        raise InvalidArgumentError(f"top is {top}; it must be 1 or more", reason="OUT_OF_RANGE", field="top")
    grid = grid_of(effects, units)
    reference = grid.index(unit)
    profiles = grid.profiles()
    directions = _unit_length(profiles)
    if not profiles[reference].any():
        raise InvalidArgumentError(
            f"unit {unit} has no effect on any part that could be measured; there is nothing to resemble",
            reason="NO_EFFECTS",
            field="unit",
            unit=unit,
        )
    cosine = directions @ directions[reference]
    allowed = profiles.any(axis=1) & (grid.numbers != unit)
    allowed &= grid.trusted | include_untrusted
    allowed &= grid.confirmed | (not confirmed_only)
    kept = np.flatnonzero(allowed)
    kept = kept[_nearest_first(cosine[kept], grid.numbers[kept])][:top]
    shared = directions[kept] * directions[reference]
    best = shared.argmax(axis=1) if shared.size else np.zeros(len(kept), np.int64)
    none = shared[np.arange(len(kept)), best] <= 0
    columns: dict[str, Any] = {
        "cosine": cosine[kept].clip(-1, 1),
        "common_part": _names(grid, best, none, 0),
        "common_measure": _names(grid, best, none, 1),
        "common_standardised": _nullable(np.where(none, np.nan, profiles[kept, best])),
        "common_reference": _nullable(np.where(none, np.nan, profiles[reference, best])),
    }
    rows = grid.units.take(pa.array(kept))
    for name in ("unit", "group", "layer", "stage", "trust", "trusted"):
        columns[name] = rows.column(name).combine_chunks()
    return RESEMBLING.build(columns)


def clusters(units: pa.Table, effects: pa.Table, *, include_untrusted: bool = False) -> pa.Table:
    """The clusters that the job found, each with what its members have in common.

    Args:
        units: The table ``units`` of a quantify job; its column ``cluster`` says who belongs together.
        effects: The table ``effects`` of the same job.
        include_untrusted: Also count members that are not trusted.

    Returns:
        The columns of `CLUSTERS`.
    """
    grid = grid_of(effects, units)
    number = np.nan_to_num(grid.units.column("cluster").to_numpy().astype(np.float64), nan=-1).astype(int)
    profiles = grid.profiles()
    counted = (number >= 0) & profiles.any(axis=1) & (grid.trusted | include_untrusted)
    rows = [
        _cluster(grid, profiles, int(cluster), np.flatnonzero(counted & (number == cluster)))
        for cluster in np.unique(number[counted])
    ]
    rows.sort(key=lambda row: (-row["size"], row["cluster"]))
    return CLUSTERS.build({c.name: [row[c.name] for row in rows] for c in CLUSTERS.columns})


def _cluster(
    grid: Grid, profiles: NDArray[np.float64], cluster: int, members: NDArray[np.int64]
) -> dict[str, Any]:
    directions = _unit_length(profiles[members])
    centre = _unit_length(directions.mean(axis=0, keepdims=True))[0]
    cosine = directions @ centre
    mean = profiles[members].mean(axis=0)
    parts = grid.parts[grid.profile_columns]
    best = int(np.abs(centre).argmax())
    other = np.where(parts == parts[best], 0.0, np.abs(centre))
    also = int(other.argmax())
    sign = np.sign(mean[best])
    name = [grid.columns[index] for index in grid.profile_columns]
    has_other = bool(other[also] > 0)
    return {
        "cluster": cluster,
        "size": len(members),
        "members": grid.numbers[members[_nearest_first(cosine, grid.numbers[members])]].tolist(),
        "cohesion": float(cosine.mean()),
        "part": name[best][0],
        "measure": name[best][1],
        "standardised": float(mean[best]),
        "same_sign": float((np.sign(profiles[members, best]) == sign).mean()),
        "also_part": name[also][0] if has_other else None,
        "also_measure": name[also][1] if has_other else None,
        "also_standardised": float(mean[also]) if has_other else None,
    }


def _nearest_first(cosine: NDArray[np.float64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """By falling cosine; where they are equal but for rounding, by number."""
    return np.lexsort((numbers, -cosine.round(9)))


def _unit_length(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1; rows of zeros stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def _names(grid: Grid, columns: NDArray[np.int64], none: NDArray[np.bool_], which: int) -> list[str | None]:
    names = [grid.columns[index][which] for index in grid.profile_columns]
    return [None if empty else names[column] for column, empty in zip(columns, none, strict=True)]


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)
