"""Both passes joined: for every target the statistics that count, and what follows from all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitscope.jobs.specs import QuantifySpec
from workers.analyses.columns import Columns
from workers.analyses.job import Job
from workers.analyses.linked import Linked
from workers.analyses.quantify.summary import (
    Behaviour,
    Statistics,
    part_shares,
    statistics,
)
from workers.analyses.quantify.targets import Targets
from workers.measures import MEASURES, PICTURE
from workers.statistics import (
    Summary,
    benjamini_hochberg,
    clusters,
    explained,
    map_2d,
    shares_by_part,
)

NAMING_THRESHOLD = 0.14
"""Selectivity from which on a target may be named after the part that it changes most.

Of random directions in w about 5 % reach it: see ``planted`` in docs/benchmarks.md.
"""
SIGNIFICANT = 0.05

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What a job found, (targets, ...) in the order of `Targets`.

    Attributes:
        columns: Measures of parts.
        targets: What was moved.
        confirmed: bool (targets,).
        parts: Effects on parts, (targets, columns); those of the confirmation where there is one.
        logits: Effects on logits, (targets, classes).
        behaviour: The rest.
        q: (targets, columns); NaN where a target was screened alone, or the measure has no direction.
        logit_q: (targets, classes).
        selectivity: (targets, columns).
        logit_selectivity: (targets, classes).
        shares: (targets, parts + 1) of each part in the effects of the target.
        concentration: (targets,) its selectivity: the sum of the squared shares of the looks and forms of all
            parts, 1 where all of the effect falls on one of them, 0 where there is none.
        cell: int64 (targets,) the look or form with the largest share, see `Columns`; -1 where there is
            none.
        strongest: int64 (targets,) the column of that cell with the largest share; -1 likewise.
        named: bool (targets,).
        trusted: bool (targets,).
        cluster: int64 (targets,), -1 = none.
        place: (targets, 2) on the map of all units.
    """

    columns: Columns
    targets: Targets
    confirmed: NDArray[np.bool_]
    parts: Summary
    logits: Summary
    behaviour: Behaviour
    q: Array
    logit_q: Array
    selectivity: Array
    logit_selectivity: Array
    shares: Array
    concentration: Array
    cell: NDArray[np.int64]
    strongest: NDArray[np.int64]
    named: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    cluster: NDArray[np.int64]
    place: Array

    @property
    def part(self) -> NDArray[np.int64]:
        """(targets,) the part that the largest share of the effect falls on; -1 where there is none."""
        found: NDArray[np.int64] = np.where(self.cell >= 0, self.cell // 2, -1)
        return found

    @property
    def profiles(self) -> Array:
        """(targets, columns) standardised effects on parts, 0 where there is none: what makes units alike."""
        return _profiles(self.parts)


def verdict(context: Job, spec: QuantifySpec, linked: Linked) -> Verdict:
    """Reads both passes, one block of targets after the other, and judges."""
    columns = Columns.of(context.card("parts").classes)
    targets = Targets.load(context)
    confirm = statistics(context, linked, "confirm", columns)
    found = confirm
    if any(stage.name == "screen" for stage in context.plan.stages):
        found = _over(statistics(context, linked, "screen", columns), confirm)
    confirmed = np.isin(np.arange(len(targets)), confirm.targets)
    return judge(columns, targets, found, confirmed, spec.min_trust)


def judge(
    columns: Columns, targets: Targets, found: Statistics, confirmed: NDArray[np.bool_], min_trust: float
) -> Verdict:
    """The verdict on statistics of all targets, in their order."""
    q = _adjusted(found.parts.p, confirmed, int(columns.signed.sum()))
    logit_q = _adjusted(found.logits.p, confirmed, found.logits.p.shape[1])
    cells = shares_by_part(found.selectivity, columns.cell)
    cell = np.where(cells.max(1) > 0, cells.argmax(1), -1).astype(np.int64)
    inside = columns.cell == cell[:, None]
    strongest = np.where(inside, found.selectivity, -1.0).argmax(1)
    concentration = (cells**2).sum(1)
    significant = (inside & (q < SIGNIFICANT)).any(1)
    profiles = _profiles(found.parts)
    return Verdict(
        columns=columns,
        targets=targets,
        confirmed=confirmed,
        parts=found.parts,
        logits=found.logits,
        behaviour=found.behaviour,
        q=q,
        logit_q=logit_q,
        selectivity=found.selectivity,
        logit_selectivity=found.logit_selectivity,
        shares=part_shares(found, columns),
        concentration=concentration,
        cell=cell,
        strongest=np.where(cell >= 0, strongest, -1).astype(np.int64),
        named=(cell >= 0) & significant & (concentration >= NAMING_THRESHOLD),
        trusted=found.behaviour.trust >= min_trust,
        cluster=clusters(profiles).astype(np.int64),
        place=map_2d(profiles).astype(np.float64),
    )


@dataclass(frozen=True)
class Associations:
    """Do targets that push a class also change a part? (classes, parts) each.

    Attributes:
        correlation: Over all targets, multiple correlation between the effect on the logit and those on all
            measures of the part: the root of the adjusted R squared, with the sign of the measure that goes
            with the logit most closely. NaN where it cannot be told.
        measure: Index of that measure in `MEASURES`.
        q: Of an F test, adjusted over all cells.
        targets: Behind each cell.
    """

    correlation: Array
    measure: NDArray[np.int64]
    q: Array
    targets: int


def associations(found: Verdict) -> Associations:
    """Classes and parts that targets change together. Trust is not asked for."""
    logits = np.nan_to_num(found.logits.standardised)
    parts = found.columns.parts.index(PICTURE)
    shape = (logits.shape[1], parts)
    correlation, p = np.full(shape, np.nan), np.full(shape, np.nan)
    measure = np.zeros(shape, np.int64)
    for part in range(parts):
        mine = np.flatnonzero((found.columns.part == part) & found.columns.signed)
        effects = found.profiles[:, mine]
        share, p[:, part] = explained(effects, logits)
        single = np.nan_to_num(_correlation(logits, effects))
        best = np.abs(single).argmax(1)
        signs = np.sign(single[np.arange(len(single)), best])
        correlation[:, part] = signs * np.sqrt(np.maximum(share, 0))
        measure[:, part] = found.columns.measure[mine[best]]
    return Associations(correlation, measure, benjamini_hochberg(p), len(logits))


def _correlation(left: Array, right: Array) -> Array:
    """Pearson correlations (left columns, right columns) over rows."""
    left, right = left - left.mean(0), right - right.mean(0)
    norms = np.linalg.norm(left, axis=0)[:, None] * np.linalg.norm(right, axis=0)
    found: Array = np.where(norms > 0, (left.T @ right) / np.where(norms > 0, norms, 1), np.nan)
    return found


def _profiles(parts: Summary) -> Array:
    profiles: Array = np.nan_to_num(parts.standardised)
    # The whole picture repeats what its parts do.
    profiles[:, -len(MEASURES) :] = 0.0
    return profiles


def _over(screen: Statistics, confirm: Statistics) -> Statistics:
    """The screening's statistics, with those of the confirmation in the place of theirs."""

    def merged(below: Any, above: Any) -> Any:
        columns = {}
        for name, values in vars(below).items():
            columns[name] = np.array(values)
            columns[name][confirm.targets] = vars(above)[name]
        return type(below)(**columns)

    return Statistics(
        screen.targets,
        merged(screen.parts, confirm.parts),
        merged(screen.logits, confirm.logits),
        merged(screen.behaviour, confirm.behaviour),
    )


def _adjusted(p: Array, confirmed: NDArray[np.bool_], tests: int) -> Array:
    """Q over all targets: those that were not confirmed count as tests with p = 1."""
    q = np.full(p.shape, np.nan)
    q[confirmed] = benjamini_hochberg(p[confirmed], total=len(p) * tests)
    return q
