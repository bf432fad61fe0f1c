"""The table `changes`: which parts and measures counterfactuals of a pair change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unitscope.tables import CHANGES
from workers.analyses.columns import Columns
from workers.analyses.counterfactual.gather import Array, Integers, Pair, Rows
from workers.analyses.counterfactual.rows import strongest
from workers.measures import MEASURES
from workers.outputs import nullable
from workers.statistics import (
    MIN_IMAGES,
    Summary,
    benjamini_hochberg,
    certain,
    selectivity,
    spaced,
    summarise,
)
from workers.statistics.signflip import MAX_IMAGES

MOST_PAIRS = 2_000
"""Of more pairs than these only those have rows whose change can be tested."""
_NUMBERS = ("mean", "standard_error", "lower", "upper", "standardised", "same_sign", "p")


@dataclass(frozen=True, eq=False)
class Changes:
    """What changes, (described, columns) each, in the order of the pairs that are described.

    With at least `MIN_IMAGES` counterfactuals of a pair its shares are of what changes for certain, as those
    of units in `quantify`. With fewer nothing is certain, and shares are of the mean changes themselves.

    Attributes:
        columns: What was measured.
        described: int64 (described,) their places among all pairs.
        images: int64, counterfactuals in which the change could be measured.
        mean: Mean change, of one image and more.
        standard_error: NaN, as the next two and p, where fewer than `MIN_IMAGES` were measured.
        lower: Of the mean's interval.
        upper: Likewise.
        standardised: The mean over the column's scale.
        same_sign: Share of images whose change has the mean's sign.
        p: Of the sign-flip test.
        q: p adjusted over all.
        share: 0 in columns of the whole picture, which repeats what its parts do.
        leading: int64 (described,) the column that changes most; -1 where there is none.
    """

    columns: Columns
    described: Integers
    images: Integers
    mean: Array
    standard_error: Array
    lower: Array
    upper: Array
    standardised: Array
    same_sign: Array
    p: Array
    q: Array
    share: Array
    leading: Integers

    def strongest(self, pair: int) -> int:
        """The column that changes most in a pair; -1 where there is none."""
        place = self._place(pair)
        return -1 if place is None else int(self.leading[place])

    def part_share(self, pair: int) -> float | None:
        """The share of the part of that column."""
        place, column = self._place(pair), self.strongest(pair)
        if place is None or column < 0:
            return None
        return float(self.share[place, self.columns.part == self.columns.part[column]].sum())

    def _place(self, pair: int) -> int | None:
        place = int(np.searchsorted(self.described, pair))
        return place if place < len(self.described) and self.described[place] == pair else None


def changes_of(
    found: Rows, pairs: Sequence[Pair], columns: Columns, scale: Array, beat: Callable[[], None]
) -> Changes:
    """What changes in each pair that has a counterfactual.

    Args:
        found: All rows. Of more than 1,000 counterfactuals of a pair 1,000, evenly spaced, are taken.
        pairs: All pairs.
        columns: What was measured.
        scale: (columns,) that makes measures comparable.
        beat: Called after each pair.
    """
    described = [k for k, pair in enumerate(pairs) if len(pair.reached)]
    if len(described) > MOST_PAIRS:
        described = [k for k in described if len(pairs[k].reached) >= MIN_IMAGES]
    numbers: dict[str, list[Array]] = {name: [] for name in ("images", *_NUMBERS, "size")}
    for k in described:
        rows = pairs[k].reached
        effects = found.effects[rows[spaced(len(rows), MAX_IMAGES)]].astype(np.float64)
        for name, values in _described(effects, columns, scale).items():
            numbers[name].append(values)
        beat()
    empty = np.empty((0, len(columns)))
    table = {name: np.stack(values) if values else empty for name, values in numbers.items()}
    size = table.pop("size")
    return Changes(
        columns=columns,
        described=np.array(described, np.int64),
        images=table.pop("images").astype(np.int64),
        q=benjamini_hochberg(table["p"]),
        share=selectivity(size),
        leading=strongest(size, columns),
        **table,
    )


def change_rows(classes: Sequence[str], pairs: Sequence[Pair], changes: Changes) -> pa.Table:
    """The table `changes`."""
    columns, described = changes.columns, [pairs[k] for k in changes.described.tolist()]
    width = len(columns)
    parts = [columns.parts[part] for part in columns.part]
    measures = [MEASURES[index].name for index in columns.measure]
    status = np.where(columns.signed, "measured", "unsigned")[None]
    status = np.where(changes.images < MIN_IMAGES, "too_few", status)
    status = np.where(changes.images == 0, "too_small", status)
    share = np.where(np.isfinite(changes.standardised), changes.share, np.nan)
    return CHANGES.build(
        {
            "origin": [classes[pair.origin] for pair in described for _ in range(width)],
            "target": [classes[pair.target] for pair in described for _ in range(width)],
            "part": parts * len(described),
            "measure": measures * len(described),
            "images": changes.images.ravel(),
            "change": nullable(changes.mean),
            "share": nullable(share),
            "status": status.ravel().tolist(),
            **{name: nullable(vars(changes)[name]) for name in (*_NUMBERS[1:], "q")},
        }
    )


def _described(effects: Array, columns: Columns, scale: Array) -> dict[str, NDArray[Any]]:
    """One pair, (columns,) each: effects are (images, columns)."""
    summary = summarise(effects[None], scale, signed=columns.signed)
    found = {name: vars(summary)[name][0] for name in ("images", *_NUMBERS)}
    images = found["images"]
    known = np.where(np.isnan(effects), 0, effects).sum(0) / np.maximum(images, 1)
    # Too few images for an interval: what the few say is still to be seen.
    found["mean"] = np.where(images > 0, known, np.nan)
    found["standardised"] = found["mean"] / np.where(scale > 0, scale, np.nan)
    found["size"] = _sizes(summary, found, len(effects))
    found["size"][columns.part == len(columns.parts) - 1] = 0.0
    return found


def _sizes(summary: Summary, found: dict[str, NDArray[Any]], images: int) -> Array:
    """How much of each change counts, (columns,) in scales."""
    if images >= MIN_IMAGES:
        size: Array = certain(summary)[0]
        return size
    # As in `certain`: what only some images can show counts by the root of their share.
    part: Array = np.nan_to_num(np.abs(found["standardised"])) * np.sqrt(found["images"] / max(images, 1))
    return part
