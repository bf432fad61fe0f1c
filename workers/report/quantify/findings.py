"""What the effects say: for each unit and part how strong, how selective, by which measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.quantify.data import LOGIT, PICTURE, Column, EffectArrays, QuantifyData, Row, Strip
from workers.report.quantify.phrases import MeasureWords, deed, evidence

SIGNIFICANT = 0.05
"""Below this q an effect counts as found."""

ALIKE = 0.3
"""Least cosine at which a unit is called like another."""

ABSENT, PRESENT = 0.003, 0.008
"""Shares of the picture: below the first a part is not there, above the second it is."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """The clearest effect of a unit on a part.

    Attributes:
        row: Row of the unit.
        part: Index of the part, the picture being the last.
        column: Column of the effect.
        clear: Strength times share, by which findings are ranked.
    """

    row: int
    part: int
    column: int
    clear: float


class Findings:
    """Units in a fixed order, with everything that is derived from their effects."""

    def __init__(self, data: QuantifyData) -> None:
        order = sorted(range(len(data.units)), key=lambda k: _order(data.units[k]))
        self.data = data
        self.rows: list[Row] = [data.units[k] for k in order]
        self.parts: tuple[str, ...] = (*data.parts, PICTURE)
        self.measures = {m.name: MeasureWords.of(m) for m in data.measures}
        self.columns: Sequence[Column] = data.effects.columns
        self.effects = _permuted(data.effects, order)
        self.similar = _renumbered(data.similar, order)
        self.similarity = None if data.similarity is None else np.asarray(data.similarity, float)[order]
        if self.similar is not None and self.similarity is not None:
            self.similar = np.where(self.similarity >= ALIKE, self.similar, -1)
        self.row_of = {int(row["unit"]): k for k, row in enumerate(self.rows)}
        self.confirmed = np.array([row["stage"] == "confirm" for row in self.rows], bool)
        self.trusted = np.array([bool(row["trusted"]) for row in self.rows], bool)
        self._part_index = {name: k for k, name in enumerate(self.parts)}

    @cached_property
    def found(self) -> NDArray[np.bool_]:
        """Which effects a unit is listed by, ``(units, columns)``: they have a direction, and q is small.

        Units that were only screened have no q; they are listed by the part that most of their effect
        falls on, and the page says that they were only screened.
        """
        known = np.isfinite(self.effects.standardised) & self._directed
        own = np.array([self._part_index.get(str(row["part"]), -1) for row in self.rows], np.int64)
        of_column = np.array([self._part_index.get(c.part, -2) for c in self.columns], np.int64)
        screened = ~self.confirmed[:, None] & (own[:, None] == of_column)
        with np.errstate(invalid="ignore"):
            return np.asarray(known & ((self.effects.q < SIGNIFICANT) | screened))

    @cached_property
    def _directed(self) -> NDArray[np.bool_]:
        signed = {m.name for m in self.data.measures if m.signed}
        return np.array([c.part == LOGIT or c.measure in signed for c in self.columns], bool)

    @cached_property
    def by_part(self) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Strength, share and best column of each unit on each part, ``(units, parts + 1)``.

        Strength is the largest absolute standardised effect among those found, share the sum of the
        selectivity of all of the part's measures, best column -1 where nothing was found.
        """
        units, parts = len(self.rows), len(self.parts)
        strength, share = np.zeros((units, parts)), np.zeros((units, parts))
        best = np.full((units, parts), -1, np.int64)
        size = np.where(self.found, np.abs(np.nan_to_num(self.effects.standardised)), 0.0)
        for index, name in enumerate(self.parts):
            mine = [k for k, column in enumerate(self.columns) if column.part == name]
            if not mine or not units:
                continue
            inside = size[:, mine]
            strength[:, index] = inside.max(axis=1)
            share[:, index] = np.nansum(self.effects.selectivity[:, mine], axis=1)
            place = np.asarray(mine)[inside.argmax(axis=1)]
            best[:, index] = np.where(strength[:, index] > 0, place, -1)
        return strength, share, best

    def of_part(self, part: int) -> list[Finding]:
        """What was found about a part, the clearest first, over all units."""
        strength, share, best = self.by_part
        clear = strength[:, part] * share[:, part]
        rows = [k for k in range(len(self.rows)) if best[k, part] >= 0]
        rows.sort(key=lambda k: (-clear[k], k))
        return [Finding(k, part, int(best[k, part]), float(clear[k])) for k in rows]

    def shown(self, finding: Finding, *, trusted_only: bool) -> bool:
        """Whether a finding is shown at first."""
        return bool(self.confirmed[finding.row] and (self.trusted[finding.row] or not trusted_only))

    def main(self, row: int) -> Finding | None:
        """The effect that a unit is introduced by: its strongest measure in the part that it is about."""
        strength, share, best = self.by_part
        part = self._part_index.get(str(self.rows[row]["part"]), -1)
        if part < 0 or best[row, part] < 0:
            part = int((strength[row] * share[row]).argmax()) if len(self.parts) else -1
        if part < 0 or best[row, part] < 0:
            return None
        clear = float(strength[row, part] * share[row, part])
        return Finding(row, part, int(best[row, part]), clear)

    def sentence(self, finding: Finding) -> tuple[str, str]:
        """What a unit does, ``makes glasses appear``, and the numbers behind it."""
        k, column, effects = finding.row, self.columns[finding.column], self.effects
        j = finding.column
        words = self.measures[column.measure]
        effect = float(effects.effect[k, j])
        text = deed(words, column.part, effect, self.appears(k, finding.part) and words.name == "area")
        bounds = (float(effects.lower[k, j]), float(effects.upper[k, j]))
        share, seeds = float(effects.same_sign[k, j]), int(effects.seeds[k, j])
        return text, evidence(words, effect, bounds, share, seeds)

    @cached_property
    def strips(self) -> dict[int, list[Strip]]:
        """The strips of each row, those of the largest change first."""
        found: dict[int, list[Strip]] = {}
        for strip in self.data.strips:
            if strip.unit in self.row_of:
                found.setdefault(self.row_of[strip.unit], []).append(strip)
        for strips in found.values():
            strips.sort(key=lambda s: (-visible(s), s.class_name, s.seed))
        return found

    @cached_property
    def _appearing(self) -> dict[int, NDArray[np.bool_]]:
        return {k: _appear(strips, len(self.data.parts)) for k, strips in self.strips.items()}

    def appears(self, row: int, part: int) -> bool:
        """Whether the part is absent at one end of most strips of a unit, and present at the other."""
        known = self._appearing.get(row)
        return bool(known is not None and part < len(known) and known[part])

    def logit_columns(self) -> list[int]:
        """The columns of logits, in the order of the classes."""
        places = {c.measure: k for k, c in enumerate(self.columns) if c.part == LOGIT}
        return [places[name] for name in self.data.classes if name in places]


def visible(strip: Strip) -> float:
    """Mean absolute difference between the first and the last picture, in grey levels."""
    first, last = (strip.frames[k].astype(np.float32) for k in (0, -1))
    return float(np.abs(last - first).mean())


def _appear(strips: Sequence[Strip], parts: int) -> NDArray[np.bool_]:
    shares = [
        [np.bincount(s.labels[k].ravel(), minlength=256)[:parts] / s.labels[k].size for k in (0, -1)]
        for s in strips
        if s.labels is not None
    ]
    if not shares:
        return np.zeros(parts, bool)
    ends = np.sort(np.asarray(shares), axis=1)
    return np.asarray(((ends[:, 0] < ABSENT) & (ends[:, 1] > PRESENT)).mean(axis=0) > 0.5)


def _order(row: Row) -> tuple[bool, int]:
    unit = int(row["unit"])
    return unit < 0, abs(unit)


def _permuted(effects: EffectArrays, order: Sequence[int]) -> EffectArrays:
    def moved(values: NDArray[Any]) -> Floats:
        return np.asarray(values, np.float64)[list(order)].reshape(len(order), len(effects.columns))

    return EffectArrays(
        columns=effects.columns,
        effect=moved(effects.effect),
        lower=moved(effects.lower),
        upper=moved(effects.upper),
        standardised=moved(effects.standardised),
        same_sign=moved(effects.same_sign),
        q=moved(effects.q),
        selectivity=moved(effects.selectivity),
        seeds=np.asarray(effects.seeds, np.int64)[list(order)].reshape(len(order), len(effects.columns)),
    )


def _renumbered(similar: NDArray[Any] | None, order: Sequence[int]) -> NDArray[np.int64] | None:
    """Rows of `similar` in the new order, its entries being rows in the new order too."""
    if similar is None:
        return None
    place = np.full(len(order) + 1, -1, np.int64)
    place[list(order)] = np.arange(len(order))
    # The entry -1, none, reads the last place, which stays -1.
    return np.asarray(place[np.asarray(similar, np.int64)[list(order)]])
