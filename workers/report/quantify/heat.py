"""The heat map: do units that push a class also change a part?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.report.quantify.data import Association, QuantifyData
from workers.report.quantify.findings import SIGNIFICANT
from workers.report.quantify.phrases import PHRASES, TITLES, part_label
from workers.report.words import finite, label, number

Floats = NDArray[np.floating[Any]]

MAX_CLASSES = 60
"""Rows of the map; of more classes those of the strongest cells are shown."""


@dataclass(frozen=True)
class Cell:
    """One class and one part."""

    text: str
    share: float
    sign: str
    certain: bool
    strongest: bool
    slug: str
    class_index: int
    meaning: str


@dataclass(frozen=True)
class HeatMap:
    """The map, row by row, and what is to be read in it.

    Attributes:
        parts: Headings of the columns.
        rows: Class and cells.
        units: Units behind each cell.
        classes: Number of classes, of which there may be more than rows.
        sentences: The strongest cells, in words.
    """

    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    units: int
    classes: int
    sentences: tuple[str, ...]


def make(data: QuantifyData, slugs: Sequence[str]) -> HeatMap | None:
    """The heat map of a job, or None where it has none."""
    given = data.association
    if given is None or not given.matrix.size:
        return None
    values = np.asarray(given.matrix, float)
    ranked = _ranked(given)
    rows = []
    strongest = np.nan_to_num(np.abs(values)).max(axis=1)
    for c in sorted(np.argsort(-strongest, kind="stable")[:MAX_CLASSES].tolist()):
        class_name = data.classes[c]
        cells = []
        for p, part in enumerate(data.parts):
            value = float(values[c, p])
            known = finite(value)
            certain = known and bool(given.q[c, p] < SIGNIFICANT)
            change = _change(given.measures[c][p], part, known and value > 0)
            cells.append(
                Cell(
                    text=number(value),
                    share=round(100 * min(1.0, abs(value)), 1) if known else 0.0,
                    sign="none" if not known else "plus" if value >= 0 else "minus",
                    certain=certain,
                    strongest=ranked[:1] == [(int(c), p)],
                    slug=slugs[p],
                    class_index=c,
                    meaning=f"What raises {label(class_name)} {change}, {number(value)}"
                    if known
                    else f"{label(class_name)} and {part_label(part)}: not known",
                )
            )
        rows.append((label(class_name), tuple(cells)))
    return HeatMap(
        parts=tuple(label(name) for name in data.parts),
        rows=tuple(rows),
        units=given.units,
        classes=len(data.classes),
        sentences=tuple(_sentence(data, given, c, p) for c, p in ranked[:3]),
    )


def _ranked(given: Association) -> list[tuple[int, int]]:
    """Cells that are certain, the strongest first."""
    values = np.asarray(given.matrix, float)
    with np.errstate(invalid="ignore"):
        certain = np.asarray(given.q) < SIGNIFICANT
    cells = [(int(c), int(p)) for c, p in np.argwhere(certain & np.isfinite(values))]
    return sorted(cells, key=lambda cell: (-abs(values[cell]), cell))


def _sentence(data: QuantifyData, given: Association, c: int, p: int) -> str:
    value = float(given.matrix[c, p])
    change = _change(given.measures[c][p], data.parts[p], value > 0)
    return f"What raises “{label(data.classes[c])}” {change} (correlation {number(value)})"


def _change(measure: str, part: str, up: bool) -> str:
    """What becomes of a part, e.g. ``makes glasses darker``."""
    phrases = PHRASES.get(measure)
    if phrases is None:
        return f"{'raises' if up else 'lowers'} {TITLES.get(measure, label(measure))} of {part_label(part)}"
    return phrases[0 if up else 1].format(part=part_label(part))
