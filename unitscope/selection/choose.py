"""Units by what they do to a part, a measure or a class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, TypedDict, Unpack

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.errors import InvalidArgumentError
from unitscope.selection.explain import Funnel, explanation
from unitscope.selection.grid import LOGIT, PICTURE, Grid, grid_of, known
from unitscope.tables import EFFECTS, QUANTIFIED_UNITS, Column, Table

DEFAULT_Q = 0.05
DEFAULT_TOP = 20


class Options(TypedDict, total=False):
    """What to select by; see `select`."""

    part: str
    measure: str
    logit: str
    increase: bool | None
    top: int
    include_untrusted: bool
    confirmed_only: bool
    q: float


@dataclass(frozen=True)
class Selection:
    """Units that were selected, and in words how many of how many and why not the others."""

    table: pa.Table
    explanation: str


def _from(table: Table, *names: str) -> tuple[Column, ...]:
    there = {column.name: column for column in table.columns}
    return tuple(there[name] for name in names)


_OF_EFFECT = frozenset(column.name for column in EFFECTS.columns) - {"unit", "group"}

_ALSO = "The strongest effect outside that part, the whole picture aside: "
SELECTED = Table(
    "selected",
    "Units that were selected, the best first.",
    (
        *_from(QUANTIFIED_UNITS, "unit", "group", "layer"),
        *_from(EFFECTS, "part", "measure", "effect", "lower", "upper", "standardised", "selectivity"),
        Column("share", pa.float64(), "share", "Share of its effect that falls on the part.", nullable=True),
        Column("score", pa.float64(), "standard deviation", "What the rows are ordered by."),
        *_from(EFFECTS, "q", "same_sign", "seeds", "stage"),
        *_from(QUANTIFIED_UNITS, "trust", "trusted"),
        Column("also_part", pa.string(), "", _ALSO + "its part.", nullable=True),
        Column("also_measure", pa.string(), "", _ALSO + "its measure.", nullable=True),
        Column("also_effect", pa.float64(), "of the measure", _ALSO + "its size.", nullable=True),
        Column("also_standardised", pa.float64(), "standard deviation", _ALSO + "its size.", nullable=True),
        Column("logit_effect", pa.float64(), "logit", "Effect on the class asked for.", nullable=True),
        *_from(QUANTIFIED_UNITS, "strongest_class", "strongest_change"),
    ),
)
"""The columns of a selection."""


def select(effects: pa.Table, units: pa.Table, **options: Unpack[Options]) -> pa.Table:
    """Units that change what is asked for, the best first.

    The score is |standardised effect| x selectivity, selectivity being the share of the unit's whole
    effect that falls on this part and measure (for a class: on this logit). With `part` alone it is
    |standardised effect| of the strongest measure x the share of the whole part.

    Args:
        effects: The table ``effects`` of a quantify job.
        units: The table ``units`` of the same job.
        **options: `part`: the part that shall change. `measure`: the measure that shall change; with
            no part, in whichever part it changes most. `logit`: the class whose logit shall change;
            beside a part or measure, it must change as well. `increase`: True or False for the
            direction (of the part or measure, where given). `top` (20): rows at most.
            `include_untrusted` (False), `confirmed_only` (True) and `q` (0.05; 1 lifts the bound): see
            `unitscope.selection`. Effects of units that screening dropped have no q, and are not
            held to it. Measures without direction have neither p nor q, and are taken where they are
            named.

    Returns:
        The columns of `SELECTED`; no row where no unit fits, see `explain`.

    Raises:
        InvalidArgumentError: Part, measure or class is unknown, a number is out of range, or a direction
            is asked for where there is none.
    """
    return choose(effects, units, **options).table


def explain(effects: pa.Table, units: pa.Table, **options: Unpack[Options]) -> str:
    """How many units `select` finds, or why none, in words that name the flag that widens it."""
    return choose(effects, units, **options).explanation


def choose(effects: pa.Table, units: pa.Table, **options: Unpack[Options]) -> Selection:
    """The table of `select` together with the words of `explain`."""
    grid = grid_of(effects, units)
    wanted = _checked(grid, options)
    cells, funnel = _fitting(grid, wanted)
    standardised, selectivity = np.abs(grid.values("standardised")), grid.values("selectivity")
    shares = selectivity
    if wanted.part and not wanted.measure:
        whole = np.nansum(selectivity[:, grid.parts == wanted.part], axis=1, keepdims=True)
        shares = np.broadcast_to(whole, selectivity.shape)
        score = np.where(cells, standardised, -1.0)
    else:
        score = np.where(cells, np.nan_to_num(standardised * selectivity), -1.0)
    kept = np.flatnonzero(cells.any(axis=1))
    chosen = score[kept].argmax(axis=1) if len(kept) else np.zeros(0, np.int64)
    final = np.nan_to_num((standardised * shares)[kept, chosen])
    order = np.lexsort((grid.numbers[kept], -final))[: wanted.top]
    table = _table(grid, wanted, kept[order], chosen[order], final[order])
    return Selection(table, explanation(funnel, wanted.top))


@dataclass(frozen=True)
class _Wanted:
    part: str
    measure: str
    logit: str
    increase: bool | None
    top: int
    include_untrusted: bool
    confirmed_only: bool
    q: float
    columns: NDArray[np.bool_]

    @property
    def what(self) -> str:
        """In words."""
        words = " ".join(filter(None, (self.part, self.measure)))
        if self.logit and words:
            return f"{words} and the logit of {self.logit}"
        return f"the logit of {self.logit}" if self.logit else words or "anything"


def _checked(grid: Grid, options: Options) -> _Wanted:
    part, measure, logit = options.get("part", ""), options.get("measure", ""), options.get("logit", "")
    top, q = options.get("top", DEFAULT_TOP), options.get("q", DEFAULT_Q)
    increase = options.get("increase")
    if top < 1:
        raise InvalidArgumentError(f"top is {top}; it must be 1 or more", reason="OUT_OF_RANGE", field="top")
    if not 0 < q <= 1:
        raise InvalidArgumentError(
            f"q is {q:g}; it must be above 0 and at most 1", reason="OUT_OF_RANGE", field="q"
        )
    parts, measures, inside = grid.parts, grid.measures, grid.in_picture
    columns = inside.copy()
    if part:
        columns &= parts == known("part", part, parts[inside].tolist())
    if measure:
        known("measure", measure, measures[inside].tolist())
        columns &= measures == known("measure", measure, measures[columns].tolist())
        if increase is not None and not grid.signed[columns].any():
            raise InvalidArgumentError(
                f"{measure} is a change without direction; leave the direction away",
                reason="NO_DIRECTION",
                field="increase",
            )
    else:
        # A change without direction says little of a unit; it counts where it is asked for by name.
        columns &= grid.signed
    if logit:
        known("class", logit, measures[~inside].tolist())
        if not part and not measure:
            columns = ~inside & (measures == logit)
    return _Wanted(
        part=part,
        measure=measure,
        logit=logit,
        increase=increase,
        top=top,
        include_untrusted=options.get("include_untrusted", False),
        confirmed_only=options.get("confirmed_only", True),
        q=q,
        columns=columns,
    )


def _fitting(grid: Grid, wanted: _Wanted) -> tuple[NDArray[np.bool_], Funnel]:
    """Bool (units, columns): what fits; and how many units were left after each rule."""
    effect, q = grid.values("effect"), grid.values("q")
    asked = np.broadcast_to(wanted.columns, effect.shape)
    measured = asked & np.isfinite(effect) & np.isfinite(grid.values("standardised"))
    rules: list[tuple[str, Any]] = [("measured", measured)]
    if wanted.confirmed_only:
        rules.append(("confirmed", grid.confirmed[:, None]))
    if wanted.increase is not None:
        rules.append(("direction", (effect > 0) if wanted.increase else (effect < 0)))
    significant = (q < wanted.q) | ~grid.signed[None, :] | (np.isnan(q) & ~grid.confirmed[:, None])
    if wanted.q < 1:
        rules.append(("significant", significant))
    if wanted.logit and wanted.columns[grid.in_picture].any():
        column = grid.columns.index((LOGIT, wanted.logit))
        rules.append(("logit", significant[:, [column]] & np.isfinite(effect[:, [column]])))
    if not wanted.include_untrusted:
        rules.append(("trusted", grid.trusted[:, None]))
    cells, left, best = measured, [], np.inf
    for rule, mask in rules:
        if rule == "significant":
            best = float(np.min(np.where(cells & np.isfinite(q), q, np.inf), initial=np.inf))
        cells = cells & mask
        left.append((rule, _units(cells)))
    lifted = {
        flag: _units(reduce(np.logical_and, [mask for rule, mask in rules if rule != flag])) - left[-1][1]
        for flag in ("trusted", "confirmed")
    }
    return cells, Funnel(
        moved=len(grid.numbers),
        left=tuple(left),
        lifted=lifted,
        what=wanted.what,
        q=wanted.q,
        best=best,
        increase=wanted.increase,
    )


def _units(cells: NDArray[np.bool_]) -> int:
    return int(cells.any(axis=1).sum())


def _table(
    grid: Grid,
    wanted: _Wanted,
    kept: NDArray[np.int64],
    chosen: NDArray[np.int64],
    score: NDArray[np.float64],
) -> pa.Table:
    """The rows of the selected units; `chosen` is the column that each was selected by."""
    rows = grid.effects.take(pa.array(grid.rows[kept, chosen]))
    units = grid.units.take(pa.array(kept))
    selectivity = np.nan_to_num(grid.values("selectivity")[kept])
    same_part = grid.parts[None, :] == grid.parts[chosen][:, None]
    share = np.where(grid.in_picture[chosen], (selectivity * same_part).sum(axis=1), np.nan)
    also = _also(grid, kept, ~same_part)
    effect, standardised = grid.values("effect"), grid.values("standardised")
    logit = np.full(len(kept), np.nan)
    if wanted.logit:
        logit = effect[kept, grid.columns.index((LOGIT, wanted.logit))]
    there = np.where(also < 0, 0, also)
    columns: dict[str, Any] = {
        "share": _nullable(share),
        "score": score,
        "also_part": [grid.columns[c][0] if c >= 0 else None for c in also],
        "also_measure": [grid.columns[c][1] if c >= 0 else None for c in also],
        "also_effect": _nullable(np.where(also < 0, np.nan, effect[kept, there])),
        "also_standardised": _nullable(np.where(also < 0, np.nan, standardised[kept, there])),
        "logit_effect": _nullable(logit),
    }
    names = [column.name for column in SELECTED.columns if column.name not in columns]
    for name in names:
        source = rows if name in _OF_EFFECT else units
        columns[name] = source.column(name).combine_chunks()
    return SELECTED.build(columns)


def _also(grid: Grid, kept: NDArray[np.int64], outside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each unit the column of its strongest other effect, -1 where there is none."""
    size = np.abs(grid.values("standardised")[kept])
    allowed = outside & grid.in_picture & grid.signed & (grid.parts != PICTURE) & (size > 0)
    if not allowed.size:
        return np.full(len(kept), -1, np.int64)
    best = np.where(allowed, size, -1.0).argmax(axis=1)
    return np.where(allowed.any(axis=1), best, -1)


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values, from_pandas=True)
