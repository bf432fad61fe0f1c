"""A counterfactual job's data in the order of the page: by pair, the most telling first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workers.report.counterfactual.data import CounterfactualData, Images, Row, Shown
from workers.report.words import finite

Key: TypeAlias = tuple[str, str]
"""Origin and target, by name."""

SEARCHED = ("reached", "unreachable", "not_crossed")
"""Outcomes of rows that were a search; the others ended before there was anything to search for."""

MAX_PAGES = 240
"""Pairs with a page of their own."""

VISIBLE = 12.0
"""Mean difference in grey levels from which two pictures differ at a glance."""

Doubles = NDArray[np.float64]


def pair_of(row: Row) -> Key:
    """The pair that a row of any table belongs to."""
    return str(row["origin"]), str(row["target"])


class Results:
    """What was found, grouped by pair."""

    def __init__(self, data: CounterfactualData) -> None:
        self.data = data
        self.place = {name: k for k, name in reversed(list(enumerate(data.classes)))}
        self.pairs: dict[Key, Row] = {pair_of(row): row for row in data.pairs}
        self.searched = [row for row in data.rows if row["outcome"] in SEARCHED]
        self.reached = [row for row in data.rows if row["outcome"] == "reached"]
        self.rows = _grouped(data.rows)
        self.carriers = _grouped(sorted(data.carriers, key=lambda r: (int(r["rank"]), int(r["unit"]))))
        self.changes = _grouped(data.changes)
        self.shown: dict[Key, list[int]] = defaultdict(list)
        for k, shown in enumerate(data.shown):
            self.shown[pair_of(shown.row)].append(k)
        self.telling = [telling(shown, data.parts, data.classes) for shown in data.shown]
        self.anchors = {key: self._anchor(k, key) for k, key in enumerate(self.pairs)}

    @cached_property
    def order(self) -> list[Key]:
        """The pairs that get a page: those with the most telling pictures first, then by validity."""

        def rank(key: Key) -> tuple[float, float, int, int]:
            pair = self.pairs[key]
            best = max((self.telling[k] for k in self.shown.get(key, ())), default=-1.0)
            validity = float(pair["validity"]) if finite(pair["validity"]) else -1.0
            return -best, -validity, *self.places(key)

        return sorted(self.pairs, key=rank)[:MAX_PAGES]

    @cached_property
    def paged(self) -> frozenset[Key]:
        """The pairs that have a page."""
        return frozenset(self.order)

    @cached_property
    def hero(self) -> int | None:
        """The counterfactual that tells most; None where none was kept."""
        known = [k for key in self.order for k in self.shown.get(key, ())]
        return max(known, key=lambda k: (self.telling[k], -k), default=None)

    def places(self, key: Key) -> tuple[int, int]:
        """Where the classes of a pair stand among the logits."""
        last = len(self.data.classes)
        return self.place.get(key[0], last), self.place.get(key[1], last)

    def _anchor(self, k: int, key: Key) -> str:
        origin, target = self.places(key)
        known = max(origin, target) < len(self.data.classes)
        return f"pair-{origin}-{target}" if known else f"pair-x{k}"


def _grouped(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[pair_of(row)].append(row)
    return groups


def difference(before: Images, after: Images) -> Doubles:
    """``(height, width)`` absolute difference of two pictures in grey levels, the mean of the channels."""
    gap: Doubles = np.abs(after.astype(np.float64) - before).mean(axis=2)
    return gap


def by_part(shown: Shown, parts: int) -> Doubles:
    """``(parts,)`` shares of the difference that fall on each part, half by where it was before."""
    gap = difference(shown.start, shown.counterfactual).ravel()
    shares = np.zeros(256)
    for labels in (shown.start_labels, shown.labels):
        shares += np.bincount(labels.ravel(), weights=gap, minlength=256) / 2
    total = gap.sum()
    return shares[:parts] / total if total > 0 else shares[:parts]


def surroundings(labels: Images) -> int:
    """The label that most of the picture's edge belongs to."""
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return int(np.bincount(edge).argmax())


def telling(shown: Shown, parts: Sequence[str], classes: Sequence[str]) -> float:
    """How much one sees: a change that shows, in one part, that turns the classifier, in usual pictures.

    A change of the whole picture, or of what surrounds everything else, shows in no part; one that does not
    last beyond the counterfactual turns the classifier by half.
    """
    gap, part = difference(shown.start, shown.counterfactual), shown.row["part"]
    focus, seen = 0.0, float(gap.mean())
    if part in parts and seen > 0:
        place = list(parts).index(part)
        there = (shown.start_labels == place) | (shown.labels == place)
        focus = float(gap[there].sum() / gap.sum()) if place != surroundings(shown.start_labels) else 0.0
    turn = max(0.0, _known(shown.row["target_after"]) - _known(shown.row["target_before"]))
    if shown.row["target"] in classes:
        last = _known(shown.probabilities[-1][list(classes).index(shown.row["target"])])
        turn = (turn + max(0.0, last - _known(shown.row["target_before"]))) / 2
    usual = 1.0 if shown.row["plausible"] else 0.6
    return (0.1 + focus) * min(1.0, seen / VISIBLE) * (0.2 + turn) * usual


def _known(value: Any) -> float:
    return float(value) if finite(value) else 0.0
